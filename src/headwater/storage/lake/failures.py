"""What the disk refuses, in the words of the house."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from headwater.domain.errors import Unavailable


@contextmanager
def unavailable(doing: str, folder: Path) -> Iterator[None]:
    """Errors of the disk as Unavailable, with the system's words."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        number = getattr(error, "errno", None)
        words = str(error)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in words:
            code, hint = "DISK_FULL", "free space; what is not in the lake yet stays in the log"
        elif number in (errno.EROFS, errno.EACCES, errno.EPERM) or "ermission denied" in words or "ead-only" in words:
            code, hint = "READ_ONLY", "make the folder writable for the user that runs headwater"
        else:
            code, hint = "LAKE_FAILED", "look at the disk"
        raise Unavailable(f"lake: can't {doing} {folder}: {words}", code=code, path=str(folder), hint=hint) from error
