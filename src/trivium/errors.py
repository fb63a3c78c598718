"""The one exception that is meant for people."""


class UserError(Exception):
    """Something the user can mend.

    The message is one line: where it happened (file, line, field), what was expected, what to do.
    The command line prints it without a traceback and exits with 2. Bugs stay ordinary exceptions.
    """
