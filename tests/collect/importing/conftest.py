"""A shelf that keeps what the collector's own judgement accepts, and that can be made to refuse."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge
from headwater.collect.validate import Moment, Sender
from headwater.domain.schemas import Rules
from headwater.domain.wire import split

SENDER = Sender("local", "local", frozenset(), public=False)


class Shelf:
    """Stored events by identity, and what was quarantined, as decoded JSON in order of arrival."""

    def __init__(self) -> None:
        self.stored: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.quarantined: list[dict[str, Any]] = []
        self.requests = 0
        self.failures: list[Exception] = []
        """Raised by the next requests, first one first."""

    def send(self, body: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)
        judged = judge(body, Case(SENDER, Moment(time.time_ns() // 1000), Bounds(), Rules([])))
        notes = {note.index: note for note in judged.notes if note.quarantine}
        accepted = duplicate = 0
        for index, text in enumerate(split(body).texts):
            event = msgspec.json.decode(text)
            if index in notes:
                self.quarantined.append(event)
                continue
            key = (event["source"], event["id"], event.get("timestamp"))
            duplicate += key in self.stored
            accepted += key not in self.stored
            self.stored.setdefault(key, event)
        results = [
            {"index": note.index, "status": "quarantined", "code": note.code, "detail": note.detail}
            for note in notes.values()
        ]
        return {"accepted": accepted, "duplicate": duplicate, "quarantined": len(notes), "results": results}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def weblog() -> Path:
    """The real web server log, where the test data lies."""
    folder = Path(os.environ.get("HEADWATER_TEST_DATA", Path(__file__).parents[4] / "shared/data"))
    path = folder / "weblog/apache.log"
    if not path.is_file():
        pytest.skip(f"no {path}; set HEADWATER_TEST_DATA to the folder that holds weblog/apache.log")
    return path
