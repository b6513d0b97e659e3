"""Warehouse bytes per sealed event: the blocks in use of a warehouse whose rows are all sealed, divided by its rows.

The file has free blocks besides, which its hot rows leave and the next ones take again: a constant that a small file
shows and a large one does not, so the file's own size stands beside it.

In-process: real events through the collector's encoding, the pipeline and the store; 96 events a request. Every id,
session and amount is different, so little of it compresses.
"""

import time
from pathlib import Path

import duckdb

from bench import bodies
from bench.product import folder
from bench.report import Row
from bench.run import Run
from bench.stock import LOG_ID, settle
from headwater.domain.batches import Batch, Form, encode_batch, new_uuid7
from headwater.process.pipeline import blocks_of
from headwater.storage.log.base import Frame, Kind
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

SEALS, SEAL_ROWS = 2, 368_640
BATCH, BATCHES_PER_FRAME = 96, 192
"""20 frames are a seal exactly: nothing stays in `hot`."""


def rows(run: Run) -> list[Row]:
    wanted = SEAL_ROWS * run.rounds(SEALS)
    with folder() as place:
        path = place / "warehouse.duckdb"
        warehouse = DuckWarehouse(path, seal_rows=SEAL_ROWS)
        try:
            seq = 0
            while seq < wanted:
                seq = load(warehouse, seq)
                warehouse.maintain()
            settle(warehouse)
            facts = warehouse.facts()
        finally:
            warehouse.close()
        size = used_bytes(path)
        file_bytes = path.stat().st_size
    sealed = facts["rows_sealed"]
    absolute = {"rows sealed": sealed, "hot": facts["rows_hot"], "file B": file_bytes / sealed}
    what = "warehouse bytes per sealed event"
    return [Row("bytes_per_event", what, size / sealed, "B", 60, 45, more_is_better=False, absolute=absolute)]


def used_bytes(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as con:
        found = con.execute("select block_size * used_blocks from pragma_database_size()").fetchall()
    return found[0][0]


def load(warehouse: DuckWarehouse, seq: int) -> int:
    received_us = time.time_ns() // 1000
    frames = [frame(seq, received_us)]
    block, _ = blocks_of(frames, seq, LOG_ID)
    warehouse.load(block)
    return frames[-1].last_seq


def frame(seq: int, received_us: int) -> Frame:
    payloads = []
    for number in range(BATCHES_PER_FRAME):
        body = bodies.body(BATCH, seed=seq + number)
        batch_id = new_uuid7(received_us).bytes
        batch = Batch(
            batch_id=batch_id,
            received_us=received_us + number * 5_000,
            n=BATCH,
            form=Form.ARRAY,
            body=body,
            key_id="bench",
            source="bench",
            id_base=batch_id,
        )
        payloads.append(encode_batch(batch))
    n = BATCH * BATCHES_PER_FRAME
    counts = {(received_us // 60_000_000, "web"): n}
    return Frame(seq + 1, n, Kind.EVENTS, counts, payloads, [BATCH] * BATCHES_PER_FRAME)
