"""Refused events that came before: in the words of an earlier one that stands in quarantine, they are repeats of it.

So an import that is run again, or a request that is sent again, counts each bad event into quarantine once. As for
good events the id tells: one that the client sent, or that an import or an Idempotency-Key derived; others are new.
"""

import duckdb

from headwater.storage.warehouse.base import Block

# Ids first, 16 bytes a row; texts are read of those alone that have one: mostly none.
SEEN = """
select seq from quarantine semi join (select source, id from refused where not suppressed) using (source, id)
"""
AGAIN = """
with own as (select seq, source, id, event from refused where id is not null and not suppressed)
select seq from own semi join (
    select source, id, event from quarantine where seq in (select unnest($seen::bigint[]))
) using (source, id, event)
union
select seq from (select seq, row_number() over (partition by source, id, event order by seq) as place from own)
where place > 1
"""
TO_DUPLICATES = """
insert into duplicates by name
select seq, id, source, received_at from refused where seq in (select unnest($again::bigint[]))
"""
TO_LEDGER = """
insert into ledger
select epoch_us(d.received_at) // 60000000, r.source_label, 0, count(*), 0, 0, 0, 0
from duplicates d join refused r using (seq) where d.seq between $first and $last
group by all
"""
OUT = "delete from refused where seq in (select unnest($again::bigint[]))"


def set_apart(con: duckdb.DuckDBPyConnection, block: Block) -> int:
    """Moves the repeats among `refused` to the duplicates, the ledger's too; how many. Inside of a load."""
    seen = [seq for (seq,) in con.execute(SEEN).fetchall()]
    again = [seq for (seq,) in con.execute(AGAIN, {"seen": seen}).fetchall()]
    if again:
        con.execute(TO_DUPLICATES, {"again": again}).fetchall()
        con.execute(TO_LEDGER, {"first": block.after_seq + 1, "last": block.position.seq}).fetchall()
        con.execute(OUT, {"again": again}).fetchall()
    return len(again)
