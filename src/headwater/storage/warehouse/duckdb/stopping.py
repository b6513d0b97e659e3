"""A query that is over its time, or that somebody cancels, is interrupted until it has really ended."""

import threading
from types import TracebackType

import duckdb

from headwater.domain.errors import BadInput

AGAIN_SECONDS = 0.02
"""An interrupt that falls between two statements is forgotten by DuckDB: so it is repeated."""


class Stopping:
    """Around the work of one cursor: turns an interrupt into what it was for."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, timeout_seconds: float) -> None:
        self._cursor = cursor
        self._timeout_seconds = timeout_seconds
        self._cancelled = False
        self._over = False
        self._changed = threading.Condition()
        self._watcher = threading.Thread(target=self._watch, name="query-timeout", daemon=True)

    def cancel(self) -> None:
        """From any thread."""
        with self._changed:
            self._cancelled = True
            self._changed.notify()

    def __enter__(self) -> "Stopping":
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._watcher.join()
        if not isinstance(error, duckdb.InterruptException):
            return
        if self._cancelled:
            raise BadInput("the query was cancelled", code="QUERY_CANCELLED") from error
        raise BadInput(
            f"the query took longer than {self._timeout_seconds:g} s; ask for a shorter time range or fewer dimensions",
            code="QUERY_TIMEOUT",
            limit=self._timeout_seconds,
        ) from error

    def _watch(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._cancelled, self._timeout_seconds)
            while not self._over:
                self._cursor.interrupt()
                self._changed.wait(AGAIN_SECONDS)
