"""Blocks for a warehouse from plain Python rows: `block([event(1), event(2, source="app")], position=2)`."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from arro3.core import Array, DataType, Table

from headwater.storage.log.base import Position
from headwater.storage.warehouse.base import BATCH_COLUMNS, EVENT_COLUMNS, QUARANTINE_COLUMNS, Block, Warehouse

LOG_ID = b"0123456789abcdef"
NOON_US = 1_763_985_600_000_000
"""2025-11-24 12:00 UTC."""
TYPES = {"int64": DataType.int64(), "string": DataType.string(), "bool": DataType.bool()}


def event(seq: int, **columns: Any) -> dict[str, Any]:
    """A row of EVENT_COLUMNS; second `seq` after noon, id made from `seq`. `source_label` follows `source`."""
    source = columns.get("source", "web")
    at = NOON_US + seq * 1_000_000
    row: dict[str, Any] = {
        "seq": seq,
        "id": str(uuid.UUID(int=seq)),
        "has_id": True,
        "source": source,
        "source_label": source,
        "type": "USER_ACTION",
        "name": "page_view",
        "version": "1",
        "actor": "ann",
        "session_id": None,
        "created_us": at,
        "occurred_us": at,
        "clamped": False,
        "received_us": at,
        "source_ip": None,
        "user_agent": None,
        "client_batch_id": None,
        "replays_seq": None,
        "attributes": "{}",
    }
    assert columns.keys() <= row.keys(), columns
    return row | columns


def refused(seq: int, **columns: Any) -> dict[str, Any]:
    """A row of QUARANTINE_COLUMNS."""
    source = columns.get("source", "web")
    row: dict[str, Any] = {
        "seq": seq,
        "id": str(uuid.UUID(int=seq)),
        "source": source,
        "source_label": source,
        "name": "page_view",
        "code": "TYPE_MISMATCH",
        "step": "collect",
        "detail": "$.x: expected number",
        "suppressed": False,
        "received_us": NOON_US + seq * 1_000_000,
        "replays_seq": None,
        "event": '{"x": "y"}',
    }
    assert columns.keys() <= row.keys(), columns
    return row | columns


def request(first_seq: int, last_seq: int, **columns: Any) -> dict[str, Any]:
    """A row of BATCH_COLUMNS."""
    row: dict[str, Any] = {
        "first_seq": first_seq,
        "last_seq": last_seq,
        "batch_id": str(uuid.UUID(int=first_seq << 64)),
        "key_id": "key",
        "sent_us": None,
        "received_us": NOON_US + first_seq * 1_000_000,
        "source_ip": "192.0.2.1",
        "user_agent": "test",
    }
    assert columns.keys() <= row.keys(), columns
    return row | columns


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Table:
    return Table.from_pydict(
        {
            name: Array([row[name] for row in rows], TYPES[says.split(":")[0].rstrip("?")])
            for name, says in columns.items()
        }
    )


def block(
    rows: Sequence[Mapping[str, Any]],
    position: int,
    after_seq: int = 0,
    *,
    quarantine: Sequence[Mapping[str, Any]] = (),
    batches: Sequence[Mapping[str, Any]] | None = None,
    lost: Mapping[tuple[int, str], int] | None = None,
    log_id: bytes = LOG_ID,
) -> Block:
    """Seqs `after_seq + 1` to `position` as one block, by default of one request."""
    if batches is None:
        batches = [request(after_seq + 1, position)] if position > after_seq else []
    return Block(
        position=Position(log_id, position),
        after_seq=after_seq,
        events=table(rows, EVENT_COLUMNS),
        quarantine=table(quarantine, QUARANTINE_COLUMNS),
        batches=table(batches, BATCH_COLUMNS),
        lost=lost or {},
    )


def settle(warehouse: Warehouse) -> None:
    """Upkeep until none is due and none is under way."""
    while warehouse.maintain() or warehouse.facts()["sealing"]:
        pass
