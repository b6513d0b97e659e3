"""Rows of a lake, and children that work until they are killed: `python lakerows.py FOLDER` appends, with `care` behind
it merges, removes and vacuums, too."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from arro3.core import Array, DataType, Table

from headwater.storage.lake import open_lake
from headwater.storage.lake.schema import SCHEMA, type_of
from headwater.storage.log.base import Position

LOG = b"L" * 16
DAY = 20_780
PAST = 19_000
"""A day that is over by any clock: 2022-01-08."""
DAY_US = 86_400_000_000


def at(seq: int, log_id: bytes = LOG) -> Position:
    return Position(log_id, seq)


def rows_of(first_seq: int, n: int, *, day: int = DAY, batch: int = 5) -> Table:
    """`n` rows in requests of `batch` events."""
    indices = range(n)
    columns: dict[str, Sequence[Any]] = {
        "seq": range(first_seq, first_seq + n),
        "received_on": [day] * n,
        "kind": [1] * n,
        "batch_id": [(first_seq + i - i % batch).to_bytes(16, "big") for i in indices],
        "key_id": ["key"] * n,
        "id_base": [bytes(16)] * n,
        "recognisable": [False] * n,
        "public": [False] * n,
        "batch_index": [i % batch for i in indices],
        "source_default": ["web"] * n,
        "source_label": ["web"] * n,
        "received_us": [day * 86_400_000_000 + i for i in indices],
        "revision": [0] * n,
        "suppressed": [False] * n,
        "event": [f'{{"name":"e{first_seq + i}"}}' for i in indices],
    }
    arrays = [_array(name, list(columns.get(name, [None] * n))) for name in SCHEMA.names]
    return Table.from_arrays(arrays, schema=SCHEMA)


def joined(*tables: Table) -> Table:
    return Table.from_batches([batch for table in tables for batch in table.to_batches()], schema=SCHEMA)


def seqs_of(tables: Any) -> list[int]:
    return [seq for table in tables for seq in table["seq"].to_pylist()]


def _array(name: str, values: list[Any]) -> Array:
    if name == "received_on":
        return Array(values, DataType.int32()).cast(type_of(name))
    return Array(values, type_of(name))


def append_for_ever(folder: str) -> None:
    """Says each seq once its append has returned."""
    lake = open_lake(f"file://{folder}")
    position = lake.position()
    seq = position.seq if position else 0
    while True:
        days = [DAY + seq // 200, DAY + seq // 200 + seq // 20 % 2]
        lake.append(joined(*[rows_of(seq + 1 + 10 * k, 10, day=day) for k, day in enumerate(days)]), at(seq + 20))
        seq += 20
        print(seq, flush=True)


def care_for_ever(folder: str) -> None:
    """Says each seq once its append has returned. Ten appends make a day, of which two stay."""
    lake = open_lake(f"file://{folder}")
    position = lake.position()
    seq = position.seq if position else 0
    while True:
        day = PAST + seq // 200
        lake.append(rows_of(seq + 1, 20, day=day), at(seq + 20))
        seq += 20
        print(seq, flush=True)
        if seq // 20 % 4 == 0:
            list(lake.compact())
        if seq // 20 % 10 == 3:
            list(lake.expire((day - 1) * DAY_US, seq))
            list(lake.vacuum(time.time_ns() // 1000))


if __name__ == "__main__":
    (care_for_ever if "care" in sys.argv else append_for_ever)(sys.argv[1])
