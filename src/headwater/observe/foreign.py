"""What libraries say through `logging` and `warnings` goes into our journal, from WARNING on."""

import logging
from typing import Protocol


class Sink(Protocol):
    def warning(self, event: str, **facts: object) -> None: ...

    def error(self, event: str, **facts: object) -> None: ...


class Bridge(logging.Handler):
    def __init__(self, journal: Sink) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as error:  # a library's broken format string must not break its caller
            text = f"{record.msg!r} ({error})"
        say = self._journal.error if record.levelno >= logging.ERROR else self._journal.warning
        exc_info = record.exc_info[1] if record.exc_info else None
        say("library_said", logger=record.name, text=text, exc_info=exc_info)


def take_over_logging(journal: Sink) -> None:
    """Idempotent."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Bridge)]:
        root.removeHandler(handler)
    root.addHandler(Bridge(journal))
    logging.captureWarnings(True)
