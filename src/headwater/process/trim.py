"""Gives the log's space back: whole segments that all consumers have, their counts kept in the catalog first."""

import threading
from collections.abc import Callable
from functools import partial

from headwater.storage.catalog.base import Catalog
from headwater.storage.log.base import LogWriter


def keep_trimmed(
    writer: LogWriter,
    catalog: Catalog,
    project: str,
    interval_seconds: float = 10.0,
    on_dropped: Callable[[int], None] = lambda segments: None,
) -> Callable[[threading.Event], None]:
    """A target for the supervisor that trims the log of `project` every `interval_seconds`."""

    def run(stop: threading.Event) -> None:
        while not stop.wait(interval_seconds):
            dropped = writer.trim(partial(catalog.add_trimmed, project))
            if dropped:
                on_dropped(dropped)

    return run
