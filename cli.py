"""Runs the command line from a checkout: `python cli.py evaluate ...`."""

from attnres_eval.cli import main

main()
