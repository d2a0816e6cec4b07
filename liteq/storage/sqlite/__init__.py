"""The SQLite engine: one file, any number of processes of one machine.

`engine.py` is its entry in the table of engines. `base.py` is the driver, over a `Session` (session.py): one connection
of one SQLite library; upkeep.py is its care for the file. apsw_driver.py and stdlib_driver.py are the two libraries.
Beside them stands one file for each thing that SQLite leaves to its user: the next writer (gate.py), the checkpoint
(checkpoint.py), the wake-up (doorbell.py), forks (fork.py), the schema (migrate.py), the path (files.py), rows that
another program wrote (misfits.py).
"""
