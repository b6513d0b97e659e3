"""Rows of one version of the table, whatever becomes of the table meanwhile.

Large files are read a few row groups at a time, so memory stays flat: the rows of a request that go on in the next
piece wait for it. Files that are being read are pinned: no vacuum of this process deletes them.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from arro3.core import Table

from headwater.domain.errors import BadInput, NotFound
from headwater.storage.lake import parquet
from headwater.storage.lake.base import COUNTED_BY, Count, Version
from headwater.storage.lake.parquet import DataFile
from headwater.storage.lake.table import Snapshot
from headwater.storage.log.base import Kind

WHOLE_ROWS_MAX = 65_536
"""Of a file that is read at once, and of the row groups that are read together."""
PIECE_BYTES = 32 << 20
"""Of those row groups, uncompressed; one alone may be larger."""

ROW_GROUPS = """
select any_value(row_group_num_rows), sum(total_uncompressed_size)::bigint,
    max(case when path_in_schema = 'seq' then coalesce(stats_max_value, stats_max) end)::bigint as last_seq
from parquet_metadata([{paths}]) group by file_name, row_group_id order by last_seq
"""
WORDS = {
    "day": "received_on::varchar",
    "source": "source_label",
    "code": "code",
    # As the event itself says; what is no JSON has none.
    "name": "case when event_bytes is null and json_valid(event) "
    "then coalesce(json_extract_string(event, '$.name'), json_extract_string(event, '$.type')) end",
}

_pinned: Counter[Path] = Counter()
_pinning = threading.Lock()


class FileView:
    """The contract is `base.View`."""

    def __init__(self, table: Path, snapshot: Snapshot, facts: Version) -> None:
        self.facts = facts
        self.position = snapshot.position
        self.rows = sum(file.rows for file in snapshot.files)
        self.bytes = sum(file.bytes for file in snapshot.files)
        self.files = len(snapshot.files)
        self._table = table
        self._files = snapshot.files
        self._version = snapshot.version

    def read(self, after_seq: int, rows_max: int) -> Iterator[Any]:
        return read([file for file in self._files if file.last_seq > after_seq], self._table, after_seq, rows_max)

    def count(
        self, by: Sequence[str], first_day: str | None, last_day: str | None, groups_max: int, seconds_max: float
    ) -> Count:
        strange = [word for word in by if word not in COUNTED_BY]
        if strange:
            raise BadInput(f"by: expected some of {', '.join(COUNTED_BY)}, got {strange[0]!r}", code="BAD_PARAMETER")
        files = [
            file
            for file in self._files
            if (first_day or "") <= parquet.day_of(file) and (last_day is None or parquet.day_of(file) <= last_day)
        ]
        if not files:
            return Count(tuple(by), [], 0, 0)
        with pinned(files, self._table):
            self._check_kept(files)
            return _count(files, self._table, tuple(by), groups_max, seconds_max)

    def _check_kept(self, files: Sequence[DataFile]) -> None:
        gone = [file for file in files if not (self._table / file.path).exists()]
        if gone:
            raise NotFound(
                f"lake: {len(gone)} of the {self.files} files of version {self._version} were deleted since; the "
                f"first is {gone[0].path}",
                code="LAKE_VERSION_GONE",
                value=self._version,
                hint="ask as of a newer version; lake.history_days says how long they are kept",
            )


@contextmanager
def pinned(files: Sequence[DataFile], table: Path) -> Iterator[None]:
    paths = [table / file.path for file in files]
    with _pinning:
        _pinned.update(paths)
    try:
        yield
    finally:
        with _pinning:
            for path in paths:
                _pinned[path] -= 1
                if not _pinned[path]:
                    del _pinned[path]


def is_pinned(path: Path) -> bool:
    """Does anybody in this process read that file just now?"""
    return path in _pinned


def read(files: Sequence[DataFile], table: Path, after_seq: int, rows_max: int) -> Iterator[Table]:
    """Tables ascending by seq of whole requests, some `rows_max` rows each."""
    with pinned(files, table), parquet.engine() as connection:
        for group in _groups(files, rows_max):
            for file in group:
                parquet.check(file, table)
            if sum(file.rows for file in group) <= WHOLE_ROWS_MAX:
                yield from _slices(parquet.read(group, table, after_seq, connection), rows_max)
                continue
            for piece in _whole_requests(_pieces(group, table, after_seq, connection)):
                yield from _slices(piece, rows_max)


def _groups(files: Sequence[DataFile], rows_max: int) -> list[list[DataFile]]:
    """Files in order of seq, to be read together: small ones up to `rows_max` (a query costs 10 ms however small), and
    those whose ranges overlap (an append over midnight, a clock set back)."""
    groups: list[list[DataFile]] = []
    last_seq = rows = 0
    for file in files:
        if groups and (file.first_seq <= last_seq or rows + file.rows <= rows_max):
            groups[-1].append(file)
            rows += file.rows
        else:
            groups.append([file])
            rows = file.rows
        last_seq = max(last_seq, file.last_seq)
    return groups


def _pieces(
    group: Sequence[DataFile], table: Path, after_seq: int, connection: duckdb.DuckDBPyConnection
) -> Iterator[Table]:
    """A few row groups at a time, wherever these end."""
    for last_seq in _ends(group, table, connection):
        if last_seq > after_seq:
            yield parquet.read(group, table, after_seq, connection, last_seq)
            after_seq = last_seq


def _ends(group: Sequence[DataFile], table: Path, connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Seqs up to which to read at once."""
    paths = ", ".join(parquet.quoted(table / file.path) for file in group)
    with parquet.damaged(group):
        row_groups = connection.execute(ROW_GROUPS.format(paths=paths)).fetchall()
    ends: list[int] = []
    rows = size = 0
    for n, uncompressed, last_seq in row_groups:
        if ends and rows + n <= WHOLE_ROWS_MAX and size + uncompressed <= PIECE_BYTES:
            ends[-1] = last_seq
            rows, size = rows + n, size + uncompressed
        else:
            ends.append(last_seq)
            rows, size = n, uncompressed
    return ends


def _whole_requests(pieces: Iterator[Table]) -> Iterator[Table]:
    """The same rows, cut only where a request begins."""
    held: Table | None = None
    for piece in pieces:
        rows = (
            piece
            if held is None
            else Table.from_batches([*held.to_batches(), *piece.to_batches()], schema=piece.schema)
        )
        indices = rows["batch_index"].to_pylist()
        start = len(indices) - 1
        while start > 0 and indices[start]:
            start -= 1
        if start > 0:
            yield rows.slice(0, start)
        held = rows.slice(max(start, 0))
    if held is not None and held.num_rows:
        yield held


def _slices(rows: Table, rows_max: int) -> Iterator[Table]:
    """Pieces of at most `rows_max` rows that begin where a batch begins; a larger batch is one piece."""
    start = end = 0
    for row, index in enumerate([*rows["batch_index"].to_pylist(), 0]):
        if index:
            continue
        if row - start > rows_max and end > start:
            yield rows.slice(start, end - start)
            start = end
        end = row
    if end > start:
        yield rows.slice(start, end - start)


def _count(files: Sequence[DataFile], table: Path, by: tuple[str, ...], groups_max: int, seconds_max: float) -> Count:
    for file in files:
        parquet.check(file, table)
    words = ", ".join(f"{WORDS[word]} as by_{word}" for word in by)
    source = parquet.source_of(files, table)
    ordinals = ", ".join(str(place + 1) for place in range(len(by)))
    query = (
        f"select {words + ', ' if by else ''}count(*) as n from {source} where kind = {int(Kind.EVENTS)}"  # noqa: S608
        + (f" group by {ordinals} order by n desc, {ordinals} limit {groups_max + 1}" if by else "")
    )
    with parquet.engine() as connection:
        clock = threading.Timer(seconds_max, connection.interrupt)
        clock.start()
        try:
            with parquet.damaged(files):
                found = connection.execute(query).fetchall()
                total = sum(row[-1] for row in found)
                if len(found) > groups_max:
                    everything = f"select count(*) from {source} where kind = {int(Kind.EVENTS)}"  # noqa: S608
                    ((total,),) = connection.execute(everything).fetchall()
        except duckdb.InterruptException:
            raise BadInput(
                f"counting took longer than {seconds_max:g} s", code="QUERY_TIMEOUT", hint="ask for fewer days"
            ) from None
        finally:
            clock.cancel()
            clock.join()
    rows = found[:groups_max]
    return Count(by, rows, total, total - sum(row[-1] for row in rows))
