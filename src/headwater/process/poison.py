"""Finds what a block can't be loaded for by halving it, and moves that to quarantine: the rest is loaded as one.

A position stands only at frame ends, so nothing is committed on the way: the parts are only checked.
"""

import threading
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from arro3.core import Table

from headwater.domain import wire
from headwater.domain.errors import BadInput, Damaged, Unavailable
from headwater.process.arrow import quarantine_table, rows_of, table_of_rows
from headwater.process.decode import unpack
from headwater.process.refuse import broken
from headwater.process.work import Held, Reject
from headwater.storage.log.base import Frame, LogReader
from headwater.storage.warehouse.base import BATCH_COLUMNS, EVENT_COLUMNS, Block, Warehouse

LOAD_FAILED = "LOAD_FAILED"
"""Code of an event that the warehouse can't store."""


def without_poison(
    block: Block, warehouse: Warehouse, open_reader: Callable[[], LogReader], stop: threading.Event
) -> tuple[Block, int]:
    """The block with what can't be stored made harmless, and how many events went to quarantine for it.

    Events go with the text they came with, read again from the log. A quarantine row keeps its text escaped; a request
    loses what its client wrote about itself. For a few bad rows the search costs about two loads.
    """
    empty = msgspec.structs.replace(
        block,
        events=table_of_rows([], EVENT_COLUMNS),
        quarantine=quarantine_table([]),
        batches=table_of_rows([], BATCH_COLUMNS),
    )

    def bad_rows(part: str) -> dict[int, str]:
        table: Table = getattr(block, part)
        return _bad_places(table, lambda t: warehouse.check(msgspec.structs.replace(empty, **{part: t})), stop)

    events, notes, batches = bad_rows("events"), bad_rows("quarantine"), bad_rows("batches")
    if events:
        rows = rows_of(block.events)
        bad = {rows[place]["seq"]: why for place, why in events.items()}
        good = [row for place, row in enumerate(rows) if place not in events]
        block = msgspec.structs.replace(block, events=table_of_rows(good, EVENT_COLUMNS))
    if events or notes:
        rejects = [Reject(**row) for row in rows_of(block.quarantine)]
        rejects = [_harmless(reject) if place in notes else reject for place, reject in enumerate(rejects)]
        if events:
            rejects += _rejects_of(bad, block, open_reader)
        block = msgspec.structs.replace(block, quarantine=quarantine_table(rejects))
    if batches:
        rows = rows_of(block.batches)
        for place in batches:
            rows[place] |= {"source_ip": None, "user_agent": None, "sent_us": None}
        block = msgspec.structs.replace(block, batches=table_of_rows(rows, BATCH_COLUMNS))
    return block, len(events)


def _bad_places(table: Table, check: Callable[[Table], None], stop: threading.Event) -> dict[int, str]:
    """Rows that are refused alone, and why."""
    found: dict[int, str] = {}
    parts = [(0, table.num_rows)]
    while parts:
        if stop.is_set():
            raise Unavailable("asked to stop while looking for events that can't be stored", code="STOPPING")
        first, n = parts.pop()
        if n == 0:
            continue
        try:
            check(table.slice(first, n))
        except BadInput as error:
            if n == 1:
                found[first] = str(error)
            else:
                parts += [(first, n // 2), (first + n // 2, n - n // 2)]
    return found


def _rejects_of(bad: dict[int, str], block: Block, open_reader: Callable[[], LogReader]) -> list[Reject]:
    """Quarantine rows of the events with these seqs."""
    rejects: list[Reject] = []
    for held in _held_with(bad, block, open_reader):
        texts = wire.texts_of(held.batch)
        for index, text in enumerate(texts):
            why = bad.get(held.first_seq + index)
            if why is not None:
                rejects.append(broken(held, index, "load", LOAD_FAILED, why, text))
    assert len(rejects) == len(bad)
    return rejects


def _held_with(seqs: Collection[int], block: Block, open_reader: Callable[[], LogReader]) -> list[Held]:
    """The block's requests that hold any of these seqs."""
    reader = open_reader()
    held: list[Held] = []
    after_seq = block.after_seq
    try:
        while after_seq < block.position.seq:
            frames = reader.read(after_seq, 1, 1.0)
            if not frames:
                raise Damaged(f"log: nothing to read after {after_seq}, though it was read before", code="LOG_LOST")
            found, _ = unpack([frame for frame in frames if isinstance(frame, Frame)])
            held += [h for h in found if any(h.first_seq <= seq < h.first_seq + h.batch.n for seq in seqs)]
            after_seq = frames[-1].last_seq
    finally:
        reader.close()
    return held


def _harmless(reject: Reject) -> Reject:
    def plain(text: str | None) -> Any:
        return None if text is None else text.encode("unicode_escape").decode()

    return msgspec.structs.replace(
        reject, id=None, name=plain(reject.name), detail=plain(reject.detail), event=plain(reject.event)
    )
