"""`python -m attnres_eval` is the command line."""

from attnres_eval.cli import main

# Worker processes import this file again.
if __name__ == "__main__":
    main()
