"""Where is that event? In the warehouse with its outcome, in the log on its way, or nowhere we know of."""

import uuid
from collections.abc import Sequence
from typing import Any

from headwater.process.arrow import rows_of
from headwater.process.pipeline import blocks_of
from headwater.storage.log.base import LogReader
from headwater.storage.warehouse.base import Block, Receipt, Warehouse

SEARCH_EVENTS_MAX = 200_000
"""How far past the warehouse's position the log is searched: 0.7 s of work, three times the soft bound of the lag."""


def find_receipts(warehouse: Warehouse, reader: LogReader, event_id: str, source: str | None) -> Sequence[Receipt]:
    """All outcomes of the id (UUID text; state also `inFlight`), one per source. Blocks up to a second.

    Empty: it is neither stored nor among the next SEARCH_EVENTS_MAX events of the log.
    """
    if found := warehouse.receipts(event_id, source):
        return found
    position = warehouse.position()
    flying = _in_flight(uuid.UUID(event_id), source, reader, position.seq if position else 0)
    # It may have landed between the first look and the position.
    return warehouse.receipts(event_id, source) or flying


def _in_flight(event_id: uuid.UUID, source: str | None, reader: LogReader, after_seq: int) -> list[Receipt]:
    found: dict[str, Receipt] = {}
    searched = 0
    end = reader.durable_seq()
    while after_seq < end and searched < SEARCH_EVENTS_MAX:
        frames = list(reader.read(after_seq, 1, 0.0))
        block, stats = blocks_of(frames, after_seq, reader.log_id)
        searched += stats.events
        for table in (block.events, block.quarantine):
            ids = table.column("id").to_pylist()
            for place, text in enumerate(ids):
                if text is None or text.replace("-", "").lower() != event_id.hex:
                    continue
                row = rows_of(table.slice(place, 1))[0]
                if source in (None, row["source"]):
                    found.setdefault(row["source"], _flying(event_id, row, block))
        after_seq = frames[-1].last_seq
    return list(found.values())


def _flying(event_id: uuid.UUID, row: dict[str, Any], block: Block) -> Receipt:
    batches = rows_of(block.batches)
    batch_id = next((b["batch_id"] for b in batches if b["first_seq"] <= row["seq"] <= b["last_seq"]), None)
    return Receipt(
        id=str(event_id),
        source=row["source"],
        state="inFlight",
        seq=row["seq"],
        received_us=row["received_us"],
        stored_us=None,
        batch_id=str(uuid.UUID(batch_id)) if batch_id else None,
        duplicates=0,
        reason=None,
    )
