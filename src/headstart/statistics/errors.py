"""Why a table, or one comparison in it, cannot be evaluated."""


class TableError(ValueError):
    """The table is not what the documentation asks for; the message says where and what to do."""


class NothingMeasuredError(TableError):
    """The table has no rows of the kind that a study's claims are about."""


class UndecidableError(ValueError):
    """One comparison lacks what a decision needs; the message is the reason, as a clause."""
