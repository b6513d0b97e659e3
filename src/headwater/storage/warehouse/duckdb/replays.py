"""Replays from quarantine: what a block of them does to the tables, and the reads that a replay is made with.

A block of replays is loaded as any other, but only those of its rows whose quarantined seq is still open and was not
replayed before in the block: so the same seq twice has one effect, whoever asked for it. What is stored, a duplicate or
refused again counts where the original counted, in the same transaction that takes the original out.
"""

from typing import Any

import duckdb
import msgspec
from arro3.core import Array
from arro3.core import Table as ArrowTable

from headwater.domain import plans
from headwater.domain.plans import Chosen
from headwater.storage.warehouse.base import Block
from headwater.storage.warehouse.duckdb.binding import timestamp_of

OPEN = """
select q.seq, q.source_label from quarantine q
anti join (select seq from replayed where seq between $first and $last) r on r.seq = q.seq
where q.seq between $first and $last
"""
AMONG = " and q.seq in (select unnest($seqs::bigint[]))"
DENSE = 4
"""Where at most so many seqs lie between two of those that are asked for, all are read: half the time of a list."""
# From the tables themselves, as the ledger: what is closed is what was inserted.
CLOSE = """
insert into replayed
select replays_seq, seq, 'stored' from hot where seq between $first and $last and replays_seq is not null
union all
select b.replays_seq, d.seq, 'duplicate' from duplicates d join block_events b using (seq)
where d.seq between $first and $last
union all
select replays_seq, seq, 'quarantined' from quarantine where seq between $first and $last and replays_seq is not null
"""
UNCOUNT = """
insert into ledger
select epoch_us(q.received_at) // 60000000, q.source_label, 0, 0, -count(*), 0, 0, 0
from quarantine q join replayed r on r.seq = q.seq
where r.by_seq between $first and $last group by 1, 2
"""
CLOSED = "select count(*) from replayed where by_seq between $first and $last"


def still_open(con: duckdb.DuckDBPyConnection, block: Block) -> Block:
    """The block with only the rows that are to have an effect, each under the ledger label of its original."""
    parts = {name: ArrowTable.from_arrow(getattr(block, name)) for name in ("events", "quarantine")}
    if not parts["quarantine"].num_rows:
        # Nearly always all of them are open, and under the labels they have.
        replayed = parts["events"]["replays_seq"].to_pylist()
        labels = _labels_of_open(con, set(replayed) - {None})
        if len(labels) == len(replayed) and [*map(labels.get, replayed)] == parts["events"]["source_label"].to_pylist():
            return block
    rows = [
        (seq, replays, name == "quarantine")
        for name, part in parts.items()
        for seq, replays in zip(part["seq"].to_pylist(), part["replays_seq"].to_pylist(), strict=True)
        if replays is not None
    ]
    labels = _labels_of_open(con, {replays for _, replays, _ in rows})
    kept: dict[int, str] = {}
    for seq, replays, is_refused in sorted(rows):
        label = labels.pop(replays, None)
        if label is not None:
            kept[seq] = label
            if is_refused:
                # Open from here on, also for a later row of the same block: a rebuild may have put them together.
                labels[seq] = label
    return msgspec.structs.replace(block, **{name: _kept(part, kept) for name, part in parts.items()})


def close(con: duckdb.DuckDBPyConnection, block: Block) -> int:
    """Take out of quarantine what the rows of this block, inserted already, replay; how many that were."""
    span = {"first": block.after_seq + 1, "last": block.position.seq}
    con.execute(CLOSE, span).fetchall()
    con.execute(UNCOUNT, span).fetchall()
    ((closed,),) = con.execute(CLOSED, span).fetchall()
    return int(closed)


def _labels_of_open(con: duckdb.DuckDBPyConnection, seqs: set[int]) -> dict[int, str]:
    if not seqs:
        return {}
    span: dict[str, Any] = {"first": min(seqs), "last": max(seqs)}
    if span["last"] - span["first"] < DENSE * len(seqs):
        return {seq: label for seq, label in con.execute(OPEN, span).fetchall() if seq in seqs}
    return dict(con.execute(OPEN + AMONG, {"seqs": list(seqs), **span}).fetchall())


def _kept(part: ArrowTable, labels: dict[int, str]) -> ArrowTable:
    """The rows whose seqs are here, under these labels."""
    seqs = part["seq"].to_pylist()
    places = [place for place, seq in enumerate(seqs) if seq in labels]
    wanted = [labels[seqs[place]] for place in places]
    if len(places) == len(seqs) and wanted == part["source_label"].to_pylist():
        return part
    columns: dict[str, Any] = {}
    for name in part.column_names:
        values = part[name].to_pylist()
        kept = wanted if name == "source_label" else [values[place] for place in places]
        columns[name] = Array(kept, part[name].type)
    return ArrowTable.from_pydict(columns)


# Reads


def statement_of(plan: plans.Plan) -> tuple[str, dict[str, Any], tuple[str, ...]] | None:
    """SQL, its values and its columns for the plans of a replay; None for any other."""
    match plan:
        case plans.OpenCount():
            where, values = _where(plan.chosen, 0, plan.through_seq)
            return f"select count(*) from {_open(0)} where {where}", values, ("count",)  # noqa: S608 - ours only
        case plans.OpenSizes():
            where, values = _where(plan.chosen, plan.after_seq, plan.through_seq)
            sql = f"select seq, strlen(event) from {_open(plan.after_seq)} where {where} order by seq limit $n"  # noqa: S608
            return sql, values | {"n": plan.limit}, ("seq", "bytes")
        case plans.OpenEvents():
            where, values = _where(plan.chosen, plan.first_seq - 1, plan.last_seq)
            return EVENTS.format(open=_open(plan.first_seq - 1), where=where), values, plans.OPEN_FIELDS
        case plans.ReplayOutcomes():
            sql = "select outcome, count(*) from replayed where by_seq between $first and $last group by outcome"
            return sql, {"first": plan.first_seq, "last": plan.last_seq}, ("outcome", "count")
    return None


# The bounds on requests prune their row groups: those that hold a seq of the page begin at or before its last.
EVENTS = """
with chosen as (select * from {open} where {where}),
requests as (select * from batches where last_seq > $after and first_seq <= $through)
select c.seq, c.id::varchar, c.source, c.code, epoch_us(c.received_at), c.event,
    b.batch_id::varchar, b.first_seq, b.key_id, epoch_us(b.sent_at), b.source_ip, b.user_agent
from chosen c left join requests b on c.seq between b.first_seq and b.last_seq
order by c.seq
"""


def _open(after_seq: int) -> str:
    """The open part of the quarantine. Bounded twice, since a bound on one side is not taken over to the other."""
    bounded = "where seq > $after and seq <= $through"
    return f"(select * from quarantine {bounded} and seq not in (select seq from replayed {bounded}))"  # noqa: S608


def _where(chosen: Chosen, after_seq: int, through_seq: int) -> tuple[str, dict[str, Any]]:
    conditions = ["true"]
    values: dict[str, Any] = {"after": after_seq, "through": through_seq}
    for column, wanted in (
        ("code", chosen.codes),
        ("source", chosen.sources),
        ("step", chosen.steps),
        ("name", chosen.names),
    ):
        known = [each for each in wanted if each is not None]
        if wanted:
            absent = f" or {column} is null" if None in wanted else ""
            conditions.append(f"({column} in (select unnest(${column}::varchar[])){absent})")
            values[column] = known
    if chosen.seqs:
        conditions.append("seq in (select unnest($seqs::bigint[]))")
        values["seqs"] = list(chosen.seqs)
    if chosen.ids:
        conditions.append("id in (select unnest($ids::uuid[]))")
        values["ids"] = list(chosen.ids)
    for name, sign, us in (("start", ">=", chosen.start_us), ("end", "<", chosen.end_us)):
        if us is not None:
            conditions.append(f"received_at {sign} ${name}")
            values[name] = timestamp_of(us)
    return " and ".join(conditions), values
