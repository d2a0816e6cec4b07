"""The SQLite engine: one file, any number of processes of one machine.

`engine.py` is its entry in the table of engines. `base.py` is the driver, over a `Session` (session.py): one connection
of one SQLite library; keeping/upkeep.py is its care for the file. apsw_driver.py and stdlib_driver.py are the two
libraries. In rooms beside them stands one file for each thing that SQLite leaves to its user: the next writer
(turns/gate.py), the checkpoint (keeping/checkpoint.py), the wake-up (waking/doorbell.py), forks (turns/fork.py), the
path (disk/files.py), rows that another program wrote (doctor/misfits.py). The schema is migrate.py's.
"""
