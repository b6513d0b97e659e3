"""A warehouse of ten million sealed events, built by the real store from generated blocks and kept for later runs."""

import shutil
import time
from pathlib import Path

import duckdb
from arro3.core import Table

from bench.product import WORK
from headwater.process.arrow import table_of
from headwater.storage.log.base import Position
from headwater.storage.warehouse.base import BATCH_COLUMNS, QUARANTINE_COLUMNS, Block
from headwater.storage.warehouse.duckdb.store import DuckWarehouse

LOG_ID = b"bench-stock-log."
BLOCK_ROWS = 368_640
"""Three row groups of DuckDB: one block is one seal."""
DAYS = 30
DAY_US = 86_400_000_000
END_US = 1_790_000_000_000_000
"""The stock ends here, at some second of September 2026: the same file whenever it is built."""

# Random but repeatable by seq; time rises over the days with the minutes of lateness that clients have.
ROWS = """
select
    seq::bigint as seq,
    concat(h[1:8], '-', h[9:12], '-4', h[14:16], '-a', h[18:20], '-', h[21:32]) as id,
    true as has_id,
    'web' as source,
    'web' as source_label,
    'USER_ACTION' as type,
    ['page_view', 'search', 'product_view', 'add_to_cart', 'checkout_started', 'purchase'][1 + r % 6] as name,
    '1' as version,
    'user-' || (r // 7 % 50000) as actor,
    's-' || (r // 11 % 900000000) as session_id,
    us - r % 60000000 as created_us,
    us - r % 60000000 as occurred_us,
    false as clamped,
    us as received_us,
    null::varchar as source_ip,
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)' as user_agent,
    null::varchar as client_batch_id,
    null::bigint as replays_seq,
    concat('{"path": "/products/', r // 13 % 1000, '", "country": "', ['DE', 'US', 'FR', 'GB'][1 + r // 17 % 4],
        '", "device": "', ['ios', 'android', 'desktop'][1 + r // 19 % 3], '", "amount": ', 1 + r // 23 % 30000 / 100,
        ', "plan": "', ['free', 'pro', 'team'][1 + r // 29 % 3], '", "campaign": "autumn-sale-2026"}') as attributes
from (
    select seq, md5(seq::varchar || $salt) as h, (hash(seq, $salt) >> 2)::bigint as r,
        ($first_us + (seq - $first) * ($last_us - $first_us) // $n)::bigint as us
    from range($first, $first + $n) t(seq)
)
order by seq
"""


def block(after_seq: int, n: int, first_us: int, last_us: int, salt: str = "") -> Block:
    """`n` events after a seq, received evenly between two times."""
    return block_of(after_seq, n, first_us, events(after_seq, n, first_us, last_us, salt))


def events(after_seq: int, n: int, first_us: int, last_us: int, salt: str = "") -> Table:
    values = {"first": after_seq + 1, "n": n, "first_us": first_us, "last_us": last_us, "salt": salt}
    with duckdb.connect() as con:
        return Table.from_arrow(con.sql(ROWS, params=values))


def block_of(after_seq: int, n: int, received_us: int, rows: Table) -> Block:
    batch = {
        "first_seq": [after_seq + 1],
        "last_seq": [after_seq + n],
        "batch_id": ["01a20d82-3a83-71f9-adcb-1dff8cfef7bb"],
        "key_id": ["bench"],
        "sent_us": [None],
        "received_us": [received_us],
        "source_ip": ["127.0.0.1"],
        "user_agent": ["bench"],
    }
    return Block(
        position=Position(LOG_ID, after_seq + n),
        after_seq=after_seq,
        events=rows,
        quarantine=table_of({name: [] for name in QUARANTINE_COLUMNS}, QUARANTINE_COLUMNS),
        batches=table_of(batch, BATCH_COLUMNS),
        lost={},
    )


def settle(warehouse: DuckWarehouse) -> None:
    """Until no upkeep is due or under way."""
    while warehouse.maintain() or warehouse.facts()["rows_unsealed"] >= warehouse.state.limits.seal_rows:
        time.sleep(0.01)


def stock(rows: int, seconds_max: float) -> Path:
    """The folder of a warehouse with that many sealed rows. Raises TimeoutError; a later run goes on from there."""
    folder = WORK / f"stock-{rows}"
    done = folder / "done"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    warehouse = DuckWarehouse(folder / "warehouse.duckdb", seal_rows=BLOCK_ROWS)
    try:
        at = warehouse.position()
        seq = at.seq if at else 0
        while seq < rows:
            if time.monotonic() - begin > seconds_max:
                raise TimeoutError(f"{seq} of {rows} rows were built in {seconds_max:.0f} s; run it again to go on")
            n = min(BLOCK_ROWS, rows - seq)
            first_us, last_us = (END_US - DAYS * DAY_US * (rows - place) // rows for place in (seq, seq + n))
            warehouse.load(block(seq, n, first_us, last_us))
            settle(warehouse)
            seq += n
    finally:
        warehouse.close()
    done.touch()
    return folder


def copied(folder: Path, to: Path) -> Path:
    """A copy that may be written to; its database."""
    shutil.copytree(folder, to)
    return to / "warehouse.duckdb"
