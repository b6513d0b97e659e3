"""Many stored events of one name, newest first, read page by page: a stream that holds one page at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from headwater.collect.schemas.samples import Sample
from headwater.domain.errors import BadInput, Unavailable
from headwater.domain.filters import Filter, predicates_of
from headwater.domain.plans import EVENT_FIELDS, QUARANTINE_FIELDS, EventsPage, QuarantinePage
from headwater.storage.warehouse.base import Warehouse

PAGE_FIRST = 250
"""Rows of the first page, which may be large; it tells how many of them make PAGE_BYTES."""
PAGE_BYTES = 16 << 20
PAGE_MAX = 5000
"""The warehouse reads 10,000 of 200,000 events in 0.2 s by pages of so many, in 0.7 s by 1,000, in 14 s by 100."""

Rows = Sequence[Sequence[Any]]

_NAMES = ("id", "occurred_us", "version", "attributes", "seq")
_PLACES = tuple(EVENT_FIELDS.index(name) for name in _NAMES)
_ATTRIBUTES = EVENT_FIELDS.index("attributes")
_CODE, _STEP, _EVENT, _SEQ = (QUARANTINE_FIELDS.index(name) for name in ("code", "step", "event", "seq"))


class Stream:
    """At most `events_max`, within `seconds_max`; may be gone through once, in a thread."""

    def __init__(
        self,
        warehouse: Warehouse,
        name: str,
        *,
        events_max: int,
        seconds_max: float,
        version: str | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._events_max = events_max
        self._seconds_max = seconds_max
        self._deadline = time.monotonic() + seconds_max
        self._start_us, self._end_us = start_us, end_us
        asked = [Filter(field="name", operator="eq", value=name)]
        if version is not None:
            asked.append(Filter(field="version", operator="eq", value=version))
        self._where = predicates_of(asked)
        self.read = 0
        self.more = False
        """There are others beyond `events_max`."""
        self.out_of_time = False

    def __iter__(self) -> Iterator[Sample]:
        """Raises BadInput (QUERY_TIMEOUT) where the time does not even suffice for the first page."""
        before: tuple[int, int] | None = None
        size = Size()
        while self.read < self._events_max:
            wanted, rows = size.fitting(self._events_max - self.read, partial(self._page, before))
            for row in rows[:wanted]:
                sample_id, occurred_us, version, attributes, seq = (row[place] for place in _PLACES)
                if time.monotonic() > self._deadline:
                    self.out_of_time = True
                    return
                self.read += 1
                yield Sample(sample_id, occurred_us, version, attributes.encode())
                before = occurred_us, seq
            if len(rows) <= wanted:
                return
            size.seen(wanted, sum(len(row[_ATTRIBUTES]) for row in rows))
        self.more = True

    def _page(self, before: tuple[int, int] | None, rows: int) -> Rows:
        """One row more than asked for, where there are more."""
        left = self._deadline - time.monotonic()
        plan = EventsPage(rows + 1, self._where, self._start_us, self._end_us, before)
        if left > 0 or before is None:
            try:
                return self._warehouse.run(plan, max(left, 0.001)).rows
            except BadInput as error:
                if error.code != "QUERY_TIMEOUT" or before is None:
                    raise
        self.out_of_time = True
        return ()


def quarantined_texts(
    warehouse: Warehouse, name: str, codes: Sequence[str], events_max: int, seconds_max: float
) -> Iterator[str]:
    """The newest events of that name which the collector refused for one of `codes`, as they came.

    Raises BadInput (QUERY_TIMEOUT).
    """
    deadline = time.monotonic() + seconds_max

    def page(before: int | None, rows: int) -> Rows:
        left = max(deadline - time.monotonic(), 0.001)
        return warehouse.run(QuarantinePage(limit=rows, name=name, before_seq=before), left).rows

    before: int | None = None
    size, read = Size(), 0
    while read < events_max:
        wanted, rows = size.fitting(events_max - read, partial(page, before))
        for row in rows:
            if row[_STEP] == "collect" and row[_CODE] in codes:
                yield row[_EVENT]
        if len(rows) < wanted:
            return
        read += wanted
        before = rows[-1][_SEQ]
        size.seen(wanted, sum(len(row[_EVENT]) for row in rows))


class Size:
    """How many rows make a page: by what the last one held, and fewer where the warehouse's memory does not suffice."""

    def __init__(self) -> None:
        self._rows = PAGE_FIRST
        self._rows_max = PAGE_MAX

    def fitting(self, left: int, page: Callable[[int], Rows]) -> tuple[int, Rows]:
        """Rows asked for, and what came. Raises Unavailable (WAREHOUSE_MEMORY) where even one is too many."""
        while True:
            wanted = min(self._rows, left)
            try:
                return wanted, page(wanted)
            except Unavailable as error:
                if error.code != "WAREHOUSE_MEMORY" or wanted == 1:
                    raise
                self._rows = self._rows_max = max(1, wanted // 4)

    def seen(self, rows: int, characters: int) -> None:
        self._rows = max(1, min(self._rows_max, rows * PAGE_BYTES // max(1, characters)))
