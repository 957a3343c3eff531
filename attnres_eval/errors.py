"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Bad input. Its message is one line: what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
