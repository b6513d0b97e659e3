"""What every backend of the lake promises (storage/lake/base.py)."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import BadInput, Conflict, Unavailable
from headwater.storage.lake import KNOWN, open_lake
from headwater.storage.lake.base import COLUMNS, Lake

sys.path.insert(0, str(Path(__file__).parents[1] / "storage" / "lake"))
from lakerows import DAY, at, joined, rows_of, seqs_of

EMBEDDED = {"file"}
Open = Callable[[], Lake]


@pytest.fixture(params=sorted(KNOWN))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    scheme = request.param
    if scheme in EMBEDDED:
        return f"{scheme}://{tmp_path / 'lake'}"
    variable = f"HEADWATER_TEST_LAKE_{scheme.upper()}"
    if variable not in os.environ:
        pytest.skip(f"set {variable} to run")
    return os.environ[variable]


@pytest.fixture
def reopen(url: str) -> Iterator[Open]:
    """Opens the lake; closes the one opened before."""
    opened: list[Lake] = []

    def once_more() -> Lake:
        if opened:
            opened[-1].close()
        opened.append(open_lake(url))
        return opened[-1]

    yield once_more
    for lake in opened:
        lake.close()


def test_a_new_lake_has_no_position_and_no_rows(reopen: Open) -> None:
    lake = reopen()
    assert lake.position() is None
    assert seqs_of(lake.read(0, 100)) == []
    assert lake.stats()["rows"] == 0


def test_rows_and_position_are_there_after_reopening(reopen: Open) -> None:
    reopen().append(rows_of(1, 20), at(20))
    lake = reopen()
    assert lake.position() == at(20)
    assert seqs_of(lake.read(0, 100)) == [*range(1, 21)]
    assert {key: lake.stats()[key] for key in ("rows", "seq", "files")} == {"rows": 20, "seq": 20, "files": 1}


def test_a_row_comes_back_as_it_was(reopen: Open) -> None:
    lake = reopen()
    written = rows_of(1, 5)
    lake.append(written, at(5))
    (read,) = lake.read(0, 100)
    assert {name: read[name].to_pylist() for name in COLUMNS} == {name: written[name].to_pylist() for name in COLUMNS}


def test_text_that_json_would_refuse_is_kept(reopen: Open) -> None:
    lake = reopen()
    rows = rows_of(1, 1)
    texts = ["nul \x00 and \\xff and ☃ and \u2028"]
    rows = rows.set_column(rows.column_names.index("event"), "event", _strings(texts))
    lake.append(rows, at(1))
    assert [text for table in lake.read(0, 10) for text in table["event"].to_pylist()] == texts


def test_an_append_that_is_not_above_the_position_is_refused(reopen: Open) -> None:
    lake = reopen()
    lake.append(rows_of(1, 10), at(10))
    for again in (10, 5):
        with pytest.raises(Conflict):
            lake.append(rows_of(1, again), at(again))
    assert seqs_of(lake.read(0, 100)) == [*range(1, 11)]


def test_an_append_without_rows_moves_the_position(reopen: Open) -> None:
    reopen().append(rows_of(1, 10), at(10))
    reopen().append(rows_of(11, 0), at(15))
    lake = reopen()
    assert lake.position() == at(15)
    assert lake.stats()["rows"] == 10


def test_another_log_goes_on_at_or_above_the_position(reopen: Open) -> None:
    new = b"N" * 16
    lake = reopen()
    lake.append(rows_of(1, 10), at(10))
    with pytest.raises(Conflict):
        lake.append(rows_of(1, 5), at(5, new))
    lake.append(rows_of(11, 0), at(10, new))
    assert reopen().position() == at(10, new)
    lake = reopen()
    lake.append(rows_of(11, 5), at(15, new))
    assert reopen().position() == at(15, new)


def test_reading_never_splits_a_request(reopen: Open) -> None:
    lake = reopen()
    lake.append(joined(rows_of(1, 21, batch=7), rows_of(22, 20, batch=4)), at(41))
    pieces = [table["batch_index"].to_pylist() for table in lake.read(0, 10)]
    assert all(piece[0] == 0 for piece in pieces)
    assert [len(piece) for piece in pieces] == [7, 7, 7, 8, 8, 4]
    assert [len(piece) for piece in (t["seq"].to_pylist() for t in lake.read(0, 3))] == [7] * 3 + [4] * 5


def test_reading_begins_after_a_seq(reopen: Open) -> None:
    lake = reopen()
    for first in range(1, 100, 20):
        lake.append(rows_of(first, 20), at(first + 19))
    assert seqs_of(lake.read(45, 15)) == [*range(46, 101)]
    assert seqs_of(lake.read(100, 15)) == []


def test_rows_of_several_days_in_one_append_are_read_by_seq(reopen: Open) -> None:
    """Over midnight, and with a clock that was set back."""
    lake = reopen()
    parts = [rows_of(1 + 10 * k, 10, day=DAY + k % 2) for k in range(6)]
    lake.append(joined(*parts), at(60))
    assert seqs_of(lake.read(0, 15)) == [*range(1, 61)]
    assert lake.stats()["files"] == 2
    assert seqs_of(lake.read(30, 100)) == [*range(31, 61)]


def test_history_tells_each_version_newest_first(reopen: Open) -> None:
    lake = reopen()
    for first in range(1, 60, 20):
        lake.append(rows_of(first, 20), at(first + 19))
    found = lake.history(3)
    assert [(each.rows, each.files, each.seq) for each in found] == [(20, 1, 60), (20, 1, 40), (20, 1, 20)]
    assert all(each.bytes > 0 for each in found)
    assert [each.version for each in found] == sorted((each.version for each in found), reverse=True)


def test_a_second_writer_is_refused(url: str, reopen: Open) -> None:
    reopen()
    with pytest.raises(Unavailable, match=str(os.getpid())):
        open_lake(url)


def test_a_reader_sees_what_the_writer_adds(url: str, reopen: Open) -> None:
    reader = open_lake(url, read_only=True)
    assert reader.position() is None
    lake = reopen()
    for first in (1, 21):
        lake.append(rows_of(first, 20), at(first + 19))
        assert reader.position() == at(first + 19)
        assert seqs_of(reader.read(0, 100)) == [*range(1, first + 20)]
    with pytest.raises(Unavailable):
        reader.append(rows_of(41, 5), at(45))
    reader.close()


def test_a_closed_lake_takes_nothing(reopen: Open) -> None:
    lake = reopen()
    lake.close()
    lake.close()
    with pytest.raises(Unavailable):
        lake.append(rows_of(1, 5), at(5))


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"unknown scheme 'ice'.*known: file"):
        open_lake("ice://somewhere")


def _strings(values: list[str]) -> object:
    from arro3.core import Array, ChunkedArray, DataType

    return ChunkedArray([Array(values, DataType.string())])
