"""The chaos proof: real processes are killed at random, and afterwards a ledger must balance.

    make chaos                                  1,000 requests, about four minutes
    PYTHONPATH=tests python -m chaos --seed 7   the same schedule as every other run with seed 7
    make chaos ARGS="--store s3"                images in an S3 server (or `file`: a folder) that is struck, too

| module               | contents                                                                       |
|----------------------|--------------------------------------------------------------------------------|
| `schedule.py`        | the schedule of a run, drawn from the seed before anything starts              |
| `weather.py`         | the faults of the schedule inside the simulators and on the wire               |
| `ground.py`          | the addresses of all processes, and the settings of the bridge                 |
| `../silent_link.py`  | the network before PostgreSQL, which can fall silent without closing anything  |
| `storage.py`         | the image store: a folder, or an S3 server; what is in it at the end           |
| `postgres.py`        | a PostgreSQL with durable commits that can be crashed                          |
| `supervisor.py`      | starts and restarts the processes, and detects when one ends by itself         |
| `strikes.py`         | kills, pauses and restarts the processes according to the schedule             |
| `absence.py`         | restarts N8N, which starts slowly                                              |
| `promises.py`        | the moments at which the API promises something: the best ones to strike       |
| `addon.py`           | makes requests as Odoo's addon does, and repeats them until they are answered  |
| `load_balancer.py`   | the load balancer before the API, which N8N calls; it records callbacks        |
| `facts.py`           | the final state of the addon, the bridge, PostgreSQL, Odoo, N8N, AI service    |
| `callbacks.py`       | the promises in the responses to N8N's callbacks                               |
| `jobs.py`            | the AI service's jobs: what was paid for, and whether its picture arrived      |
| `ledger.py`          | compares the facts and lists the differences                                   |
| `sheet.py`           | prints the ledger                                                              |
| `story.py`           | everything that is known about a request that does not balance                 |
| `run.py`             | one run, from the first process to the last line                               |
"""
