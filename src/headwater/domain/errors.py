"""The errors of the house, and what each one tells.

    HeadwaterError
    ├── BadInput         the caller sent something wrong; sending it again unchanged won't help
    │   ├── NotFound     the named thing does not exist
    │   ├── Conflict     it exists already, or was changed by somebody else
    │   └── TooLarge     a limit on size
    ├── Refused          who is asking may not
    │   └── Unauthenticated
    ├── Overloaded       a limit on rate or backlog; the same request later will do
    ├── Unavailable      the house can't do it now: disk full, store closed, outcome unknown
    └── Damaged          stored bytes are not what was written, or a folder is not the one it was

Every error carries a stable `code` in SCREAMING_SNAKE, a public message (lower case, the value, the limit, the
cure, no full stop) and, where they exist, the path, value, limit and hint as data. Only `api/errors.py` knows HTTP.
"""

from typing import Any


class HeadwaterError(Exception):
    """Base of all errors that a person may meet. `str(error)` is the public message."""

    code = "INTERNAL"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        path: str | None = None,
        value: Any = None,
        limit: Any = None,
        hint: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.path = path
        self.value = value
        self.limit = limit
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds


class BadInput(HeadwaterError):
    code = "BAD_INPUT"


class NotFound(BadInput):
    code = "NOT_FOUND"


class Conflict(BadInput):
    code = "CONFLICT"


class TooLarge(BadInput):
    code = "TOO_LARGE"


class Refused(HeadwaterError):
    code = "FORBIDDEN"


class Unauthenticated(Refused):
    code = "UNAUTHENTICATED"


class Overloaded(HeadwaterError):
    code = "TOO_MANY_REQUESTS"


class Unavailable(HeadwaterError):
    code = "UNAVAILABLE"


class Damaged(HeadwaterError):
    code = "DAMAGED"
