"""Events of a block that occurred before what retention has removed: counted as `removed`, and not stored.

They have gone into `hot` with the rest and leave it again, before repeats are looked for. So a repeat of a removed
event is known by its day, and an event that comes later than its day is kept ends as the others of that day have.
"""

import duckdb

COUNT = """
insert into ledger
select received_us // 60000000, source_label, 0, 0, 0, 0, count(*), 0 from block_events
where occurred_us < $before group by all
"""
# A replay of a refused event that occurred on a removed day: it leaves the quarantine and is counted with the rest.
CLOSE = """
insert into replayed
select replays_seq, seq, 'removed' from block_events where occurred_us < $before and replays_seq is not null
"""
DELETE = "delete from hot where seq > $after and occurred_at < make_timestamp($before)"


def set_apart(con: duckdb.DuckDBPyConnection, after_seq: int, before_us: int) -> int:
    """How many those are. Inside of a load, once its rows are inserted."""
    before = {"before": before_us}
    con.execute(COUNT, before).fetchall()
    con.execute(CLOSE, before).fetchall()
    ((gone,),) = con.execute(DELETE, {"after": after_seq, **before}).fetchall()
    return int(gone)
