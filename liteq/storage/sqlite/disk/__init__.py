"""The file and its folder: mounts, rights, the files beside the database, and a look at the log."""
