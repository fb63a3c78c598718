"""The one exception that is meant for people, and what they are told most often."""


class UserError(Exception):
    """Something the user can mend.

    The message is one line: where it happened (file, line, field), what was expected, what to do.
    The command line prints it without a traceback and exits with 2. Bugs stay ordinary exceptions.

    Args:
        message: the line.
        refused: a run was refused its folder, which belongs to another: nothing was written there,
            and nothing may be.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


def install(extra: str) -> str:
    """How to get an extra, such as `label`: from a checkout, since no index has the package."""
    return f"in trivium's checkout: pip install -c constraints.txt '.[{extra}]'"
