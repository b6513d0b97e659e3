"""A plan answered from one snapshot, within its time."""

import time

from headwater.domain.plans import Plan, Table
from headwater.storage.warehouse.base import Cancel
from headwater.storage.warehouse.duckdb import reads
from headwater.storage.warehouse.duckdb.sql import compile_plan, rows_in_range
from headwater.storage.warehouse.duckdb.state import State
from headwater.storage.warehouse.duckdb.stopping import Stopping


def answer(state: State, plan: Plan, timeout_seconds: float, cancel: Cancel | None) -> Table:
    started = time.perf_counter()
    statement, counted = compile_plan(plan), rows_in_range(plan)
    with state.cursor() as cursor, Stopping(cursor, timeout_seconds) as stopping:
        if cancel is not None:
            cancel.bind(stopping.cancel)
        try:
            with reads.snapshot(cursor) as at:
                cursor.execute(statement.sql, statement.params)
                # A VARIANT 5,000 levels deep as a Python object overflowed the C stack and killed the process.
                assert not any(str(column[1]) == "VARIANT" for column in cursor.description or ()), statement.sql
                rows = cursor.fetchall()
                ((rows_read,),) = cursor.execute(counted.sql, counted.params).fetchall()
        finally:
            if cancel is not None:
                cancel.bind(None)
    seq = at.position.seq if at.position is not None else 0
    return Table(statement.columns, rows, rows_read, seq, at.committed_us, time.perf_counter() - started)
