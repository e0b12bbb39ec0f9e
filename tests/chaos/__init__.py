"""The chaos proof: real processes, killed at random, and a ledger that must balance afterwards.

    make chaos                                  2,000 requests, about three minutes
    PYTHONPATH=tests python -m chaos --seed 7   the same schedule as every other run with seed 7

| module          | what it does                                                                        |
|-----------------|-------------------------------------------------------------------------------------|
| `schedule.py`   | everything that will happen, drawn from the seed before anything starts             |
| `weather.py`    | the part of it that goes wrong inside the simulators and on the wire                |
| `ground.py`     | where everything listens, and the settings of the bridge                            |
| `link.py`       | the network before PostgreSQL: it can fall silent without closing anything          |
| `postgres.py`   | a PostgreSQL that keeps its promises to the disk, and can be crashed                |
| `supervisor.py` | starts the processes, starts them again, notices when one falls over by itself      |
| `strikes.py`    | kills, pauses and restarts them, as the schedule says                               |
| `absence.py`    | restarts N8N, which is slow to start                                                |
| `promises.py`   | the moments in which something is promised: the best ones to strike                 |
| `addon.py`      | asks as Odoo's addon does, again and again until it is answered                     |
| `door.py`       | the load balancer before the API: N8N's calls pass it, and it remembers callbacks   |
| `facts.py`      | what everybody knows at the end: the addon, the bridge, PostgreSQL, Odoo, N8N       |
| `callbacks.py`  | what the answers to N8N's callbacks promised                                        |
| `ledger.py`     | compares the facts: what does not balance                                           |
| `sheet.py`      | prints the ledger                                                                   |
| `story.py`      | all that is known of a request that does not balance                                |
| `run.py`        | one run, from the first process to the last line                                    |
"""
