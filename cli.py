"""Runs the command line from a checkout: `python cli.py evaluate ...`."""

from attnres_eval.cli import main

# Worker processes import this file again.
if __name__ == "__main__":
    main()
