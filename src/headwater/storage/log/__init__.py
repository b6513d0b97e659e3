"""Events on their way: in order, durable, acknowledged. The contract is `base.py`; `files.py` is embedded."""

from typing import Any, cast

from headwater.storage.log.base import LogReader, LogWriter, OnDurable
from headwater.storage.urls import backend_of

KNOWN = {"file": "files"}


def open_log_writer(url: str, on_durable: OnDurable, **settings: Any) -> LogWriter:
    """The one writer of the log at `url`, made where there is none. Settings: see the backend's `open_writer`."""
    return cast(LogWriter, backend_of("log", url, KNOWN).open_writer(url, on_durable, **settings))


def open_log_reader(url: str, **settings: Any) -> LogReader:
    """A reader of the log at `url`, in any process."""
    return cast(LogReader, backend_of("log", url, KNOWN).open_reader(url, **settings))


def set_log_aside(url: str) -> str:
    """Out of the way with a log that is given up, so that a new one can be made; where it is then."""
    return cast(str, backend_of("log", url, KNOWN).set_aside(url))
