"""A warehouse in memory, with the tables of the embedded backend, for questions of the engine."""

import datetime as dt
import json
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from headwater.domain.plans import Plan, Table
from headwater.storage import warehouse
from headwater.storage.warehouse.duckdb.sql import compile_plan, rows_in_range

# `query_model.py` beside this file is what the property tests compare with.
sys.path.insert(0, str(Path(__file__).parent))

DDL = Path(warehouse.__file__).parent / "duckdb" / "ddl"
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as the columns are
NAMES = (
    *("seq", "id", "has_id", "source", "source_label", "type", "name", "version", "actor", "session_id", "created_at"),
    *("occurred_at", "clamped", "received_at", "source_ip", "user_agent", "client_batch_id", "replays_seq"),
)


def at(us: int) -> dt.datetime:
    return EPOCH + dt.timedelta(microseconds=us)


class Lab:
    """Runs plans on a real DuckDB; rows go into `hot` or `events` as asked."""

    def __init__(self) -> None:
        self.con = duckdb.connect(":memory:", config={"threads": 2})
        for script in sorted(DDL.glob("*.sql")):
            self.con.execute(script.read_text())

    def clear(self) -> None:
        for table in ("events", "hot", "batches", "quarantine"):
            self.con.execute(f"delete from {table}")

    def add(self, events: Iterable[dict[str, Any]], sealed: bool = True) -> None:
        """Events as dicts of column values; `occurred_us` and `attributes` (a dict or JSON text) among them."""
        rows = []
        for event in events:
            occurred = at(event["occurred_us"])
            row = {
                "id": uuid.uuid4(),
                "has_id": True,
                "source": "web",
                "type": "CUSTOM_EVENT",
                "name": "n",
                "version": "1",
                "created_at": occurred,
                "occurred_at": occurred,
                "clamped": False,
                "received_at": occurred,
            } | event
            row.setdefault("source_label", row["source"])
            attributes = row.get("attributes", {})
            text = attributes if isinstance(attributes, str) else json.dumps(attributes)
            rows.append([row.get(name) for name in NAMES] + [text])
        if not rows:
            return
        table, value = ("events", "?::json::variant") if sealed else ("hot", "?::json")
        marks = f"({', '.join('?' * len(NAMES))}, {value})"
        for part in (rows[at : at + 100] for at in range(0, len(rows), 100)):
            values = [each for row in part for each in row]
            self.con.execute(
                f"insert into {table} ({', '.join(NAMES)}, attributes) values {', '.join([marks] * len(part))}", values
            )

    def add_batch(self, first: int, last: int, **columns: Any) -> str:
        batch = str(uuid.uuid4())
        values = [first, last, batch, "k", None, EPOCH, columns.get("source_ip"), columns.get("user_agent")]
        self.con.execute("insert into batches values (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return batch

    def quarantine(self, **columns: Any) -> None:
        row = {"source": "web", "step": "collect", "detail": "d", "received_at": EPOCH, "event": "{}"} | columns
        row.setdefault("source_label", row["source"])
        names = ", ".join(row)
        self.con.execute(f"insert into quarantine ({names}) values ({', '.join('?' * len(row))})", list(row.values()))

    def run(self, plan: Plan, timeout_seconds: float = 10.0, cancel: Any = None) -> Table:
        began = time.perf_counter()
        statement = compile_plan(plan)
        cursor = self.con.cursor()
        cursor.execute(statement.sql, statement.params)
        assert cursor.description is not None
        assert [each[0] for each in cursor.description] == list(statement.columns)
        rows = cursor.fetchall()
        counted = rows_in_range(plan)
        read = cursor.execute(counted.sql, counted.params).fetchall()[0][0]
        return Table(statement.columns, rows, read, 1, 1_000_000, time.perf_counter() - began)


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.con.close()


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    shared_lab.clear()
    return shared_lab
