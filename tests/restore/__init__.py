"""The database is lost under load and restored from a backup; PostgreSQL is upgraded (`make e2e-restore`).

| module        | contents                                                                                     |
|---------------|----------------------------------------------------------------------------------------------|
| `server.py`   | a PostgreSQL server of any installed version, whose data directory can be deleted            |
| `backups.py`  | the ways to back up and restore: a dump, the write-ahead log to a time, the log to its end   |
| `upgrades.py` | the ways to a newer PostgreSQL: dump and restore, `pg_upgrade`                               |
| `bridge.py`   | API and worker as processes that start and stop, and their simulated neighbours              |
| `people.py`   | callers who ask for images, ask again until they are answered, and send again as Odoo does   |
| `books.py`    | counts of rows, and the comparison of bridge, Odoo and AI service afterwards                 |
| `story.py`    | one run: the runbook of docs/backup-and-restore.md, step by step, with the time of each step |
"""
