"""How many events the life span took away, by minute and ledger label: a small file for each day that was removed.

Written before the day's commit. It counts from when no file of its range is in the table any more, so a crash between
the two counts nothing twice.
"""

import datetime as dt
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import duckdb

from headwater.domain.errors import Damaged
from headwater.domain.events import UNKNOWN_SOURCE
from headwater.storage.durable import put_in_place, sync
from headwater.storage.lake import parquet
from headwater.storage.lake.base import Expired
from headwater.storage.lake.parquet import DataFile, day_of
from headwater.storage.log.base import Kind

NAME = re.compile(r"(\d{4}-\d\d-\d\d)-(\d{20})-(\d{20})\.json")
COUNTS = """
select received_us // 60000000, source_label, count(*) from {source} where kind = {kind} group by 1, 2 order by 1, 2
"""


def keep(files: Sequence[DataFile], table: Path, folder: Path) -> None:
    """Count what is in these files of one day, durably. Raises OSError."""
    counts: Counter[tuple[int, str]] = Counter()
    with parquet.engine() as connection:
        for file in files:
            counts.update(_count(file, table, connection))
    first_seq, last_seq = min(file.first_seq for file in files), max(file.last_seq for file in files)
    if not folder.exists():
        folder.mkdir(mode=0o700)
        sync(folder.parent)
    day = day_of(files[0])
    target = folder / f"{day}-{first_seq:020d}-{last_seq:020d}.json"
    part = target.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        lines = [(minute, label, n) for (minute, label), n in sorted(counts.items())]
        kept = {"rows": sum(file.rows for file in files), "counts": lines}
        written.write(json.dumps(kept, separators=(",", ":")).encode())
    put_in_place(part, target)
    for other in folder.glob(f"{day}-*.json"):
        match = NAME.fullmatch(other.name)
        if other != target and match and int(match[2]) <= last_seq and int(match[3]) >= first_seq:
            other.unlink()  # of an earlier try that did not come to its commit


def _count(file: DataFile, table: Path, connection: duckdb.DuckDBPyConnection) -> Counter[tuple[int, str]]:
    """Where the file can't be read, all its rows count under no known source: its time is over all the same."""
    try:
        parquet.check(file, table)
        with parquet.damaged([file]):
            source = parquet.source_of([file], table)
            found = connection.execute(COUNTS.format(source=source, kind=int(Kind.EVENTS))).fetchall()
    except Damaged:
        midnight = dt.datetime.combine(dt.date.fromisoformat(day_of(file)), dt.time(), dt.UTC)
        return Counter({(int(midnight.timestamp()) // 60, UNKNOWN_SOURCE): file.rows})
    return Counter({(minute, label): n for minute, label, n in found})


def counted(files: Sequence[DataFile], folder: Path) -> Expired:
    """Of all days that are gone from the table, which holds `files` now."""
    if not folder.is_dir():
        return Expired(0, {})
    rows = 0
    found: Counter[tuple[int, str]] = Counter()
    for path in sorted(folder.iterdir()):
        match = NAME.fullmatch(path.name)
        if match is None:
            continue
        first_seq, last_seq = int(match[2]), int(match[3])
        if not any(day_of(each) == match[1] and first_seq <= each.last_seq <= last_seq for each in files):
            kept = json.loads(path.read_bytes())
            rows += kept["rows"]
            found.update({(minute, label): n for minute, label, n in kept["counts"]})
    return Expired(rows, dict(found))
