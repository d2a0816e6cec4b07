"""`python -m liteq`: the command line."""

from liteq.cli import main

if __name__ == "__main__":
    main(prog_name="liteq")
