"""Parts that commands share: the session with its app and file, exit codes, output, questions."""
