"""Columns of lake rows as they come together, request by request.

What all events of a request share is kept once, with the number of its request beside each row: `Array.take` spreads it
for 1-5 ns a value, where a Python list of equal values for each of 13 columns cost 1.2 µs an event.
"""

import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from operator import attrgetter
from typing import Any

import msgspec
from arro3.core import Array, DataType, Table

from headwater.domain.batches import Batch, Verdict
from headwater.domain.events import DAY_US
from headwater.process.buffers import texts as string_array
from headwater.storage.lake.base import COLUMNS
from headwater.storage.lake.schema import SCHEMA, type_of
from headwater.storage.log.base import Kind

Text = bytes | msgspec.Raw
"""An event as it came, not a copy of it where that can be helped."""

_SHARED = {
    "batch_id": "batch_id",
    "key_id": "key_id",
    "id_base": "id_base",
    "recognisable": "recognisable",
    "public": "public",
    "source_default": "source",
    "source_ip": "source_ip",
    "user_agent": "user_agent",
    "sent_us": "sent_us",
    "received_us": "received_us",
    "revision": "revision",
}
"""Columns that are the same for all events of a request, by the field of Batch."""
_TYPES = {name: type_of(name) for name in COLUMNS}


class RowBuild:
    """For each request: `add`, then its labels, then its texts; at the end `table`."""

    def __init__(self) -> None:
        self._requests: list[Batch] = []
        self._kinds: list[int] = []
        self._owner = array("I")
        self._seq = array("q")
        self._batch_index = array("i")
        self._label = array("I")
        self._labels: dict[str, int] = {}
        self._texts: list[Text] = []
        # What few events have, by row.
        self._event_bytes: dict[int, bytes] = {}
        self._replays_seq: dict[int, int] = {}
        self._suppressed: dict[int, bool] = {}
        self._verdicts: dict[int, Verdict] = {}

    def add(self, batch: Batch, kind: Kind, first_seq: int, first_index: int = 0) -> None:
        """`first_index` is for requests of one event."""
        n, row = batch.n, len(self._seq)
        if n == 1:
            self._owner.append(len(self._requests))
            self._seq.append(first_seq)
            self._batch_index.append(first_index)
        else:
            self._owner.frombytes(_number(len(self._requests)) * n)
            self._seq.extend(range(first_seq, first_seq + n))
            self._batch_index.frombytes(_numbers(n))
        self._requests.append(batch)
        self._kinds.append(kind)
        if batch.verdicts:
            self._verdicts.update((row + verdict.index, verdict) for verdict in batch.verdicts)
        if batch.suppressed:
            self._suppressed.update((row + index, True) for index in batch.suppressed)
        if batch.replays_seq:
            self._replays_seq.update(enumerate(batch.replays_seq, row))

    def add_label(self, label: str, n: int) -> None:
        """One label for all `n` events of a request."""
        place = self._labels.setdefault(label, len(self._labels))
        if n == 1:
            self._label.append(place)
        else:
            self._label.frombytes(_number(place) * n)

    def add_labels(self, labels: Sequence[str]) -> None:
        for label in set(labels):
            self._labels.setdefault(label, len(self._labels))
        self._label.extend(map(self._labels.__getitem__, labels))

    def add_texts(self, texts: Sequence[Text]) -> None:
        self._texts += texts

    def add_text(self, shown: str, raw: bytes | None) -> None:
        """One event's text and, where that does not say it all, what came."""
        if raw is not None:
            self._event_bytes[len(self._texts)] = raw
        self._texts.append(shown.encode())

    def table(self, *, ordered: bool) -> Table:
        """All of it, ascending by seq; `ordered`: it was added so. Nothing can be added afterwards."""
        if not self._seq:
            return Table.from_batches([], schema=SCHEMA)
        requests = self._requests
        verdicts = self._verdicts
        owner = Array.from_buffer(self._owner)
        columns = {name: _spread(name, [*map(attrgetter(of), requests)], owner) for name, of in _SHARED.items()}
        columns |= {
            "event": self._events(),
            "seq": Array.from_buffer(self._seq),
            "received_on": _spread("received_on", [batch.received_us // DAY_US for batch in requests], owner),
            "kind": _spread("kind", self._kinds, owner),
            "batch_index": Array.from_buffer(self._batch_index),
            "source_label": _spread("source_label", [*self._labels], Array.from_buffer(self._label)),
            "replays_seq": self._sparse("replays_seq", self._replays_seq),
            "code": self._sparse("code", {row: verdict.code for row, verdict in verdicts.items()}),
            "detail": self._sparse("detail", {row: verdict.detail for row, verdict in verdicts.items()}),
            "verdict_source": self._sparse("verdict_source", {row: each.source for row, each in verdicts.items()}),
            "suppressed": self._sparse("suppressed", self._suppressed, missing=False),
            "event_bytes": self._sparse("event_bytes", self._event_bytes),
        }
        if not ordered:
            order = Array.from_buffer(array("I", sorted(range(len(self._seq)), key=self._seq.__getitem__)))
            columns = {name: column.take(order) for name, column in columns.items()}
        return Table.from_arrays([columns[name] for name in COLUMNS], schema=SCHEMA)

    def _events(self) -> Array:
        found = _joined(self._texts)
        if found.null_count == 0:
            return found
        shown = [bytes(text).decode("utf-8", "backslashreplace").encode() for text in self._texts]
        self._event_bytes |= {row: bytes(raw) for row, raw in enumerate(self._texts) if bytes(raw) != shown[row]}
        return _joined(shown)

    def _sparse(self, name: str, values: dict[int, Any], missing: Any = None) -> Array:
        places = array("I", bytes(4 * len(self._seq)))
        for place, row in enumerate(values, 1):
            places[row] = place
        return _spread(name, [missing, *values.values()], Array.from_buffer(places))


def _joined(texts: Sequence[Text]) -> Array:
    """One buffer of all texts, with no object of Python for any of them. What is not UTF-8 becomes null."""
    offsets = array("i", accumulate(map(len, texts), initial=0))
    return string_array(offsets.tobytes(), b"".join(texts))


def _spread(name: str, values: Sequence[Any], places: Array) -> Array:
    if name == "received_on":
        return Array(values, DataType.int32()).cast(_TYPES[name]).take(places)
    return Array(values, _TYPES[name]).take(places)


def _number(value: int) -> bytes:
    """As an element of array("i") and array("I")."""
    return value.to_bytes(4, sys.byteorder)


@lru_cache(64)
def _numbers(n: int) -> bytes:
    return array("i", range(n)).tobytes()
