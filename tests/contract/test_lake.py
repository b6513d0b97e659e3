"""What every backend of the lake promises (storage/lake/base.py)."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import BadInput, Conflict, NotFound, Unavailable
from headwater.storage.lake import KNOWN, open_lake
from headwater.storage.lake.base import COLUMNS, Lake

sys.path.insert(0, str(Path(__file__).parents[1] / "storage" / "lake"))
from lakerows import DAY, DAY_US, PAST, at, joined, rows_of, seqs_of

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


def filled(lake: Lake, appends: int, day: int = PAST, n: int = 20) -> None:
    position = lake.position()
    first = (position.seq if position else 0) + 1
    for k in range(appends):
        lake.append(rows_of(first + n * k, n, day=day), at(first + n * (k + 1) - 1))


def later() -> int:
    """An instant after everything that was done by now."""
    return time.time_ns() // 1000 + 10_000_000


def test_compaction_leaves_the_same_rows_and_position_in_one_file_a_day(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 5)
    filled(lake, 3, day=PAST + 1)
    before = [table["event"].to_pylist() for table in lake.read(0, 1000)]
    assert [(part.files, part.rows) for part in lake.compactable()] == [(5, 100), (3, 60)]
    done = list(lake.compact())
    assert [(part.day, part.files, part.rows) for part in done] == [("2022-01-08", 5, 100), ("2022-01-09", 3, 60)]
    assert all(0 < part.bytes_after < part.bytes and not part.left_alone for part in done)
    for _ in range(2):
        assert lake.position() == at(160)
        assert [table["event"].to_pylist() for table in lake.read(0, 1000)] == before
        assert (lake.stats()["files"], lake.stats()["rows"]) == (2, 160)
        assert list(lake.compact()) == []
        lake = reopen()
    newest, before_it, *_ = reopen().history(10)
    assert (newest.operation, newest.rows, newest.files, newest.seq) == ("OPTIMIZE", 0, -2, 160)
    assert (before_it.operation, before_it.files) == ("OPTIMIZE", -4)


def test_a_day_that_is_not_over_waits_until_there_are_enough_files(reopen: Open) -> None:
    lake = reopen()
    today = time.time_ns() // (DAY_US * 1000) + 1
    filled(lake, 15, day=today, n=5)
    assert list(lake.compact()) == []
    filled(lake, 1, day=today, n=5)
    assert [part.files for part in lake.compact()] == [16]


def test_appends_go_on_after_a_compaction(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 3)
    assert len(list(lake.compact())) == 1
    filled(lake, 2)
    lake = reopen()
    assert lake.position() == at(100)
    assert seqs_of(lake.read(0, 30)) == [*range(1, 101)]
    assert seqs_of(lake.read(50, 30)) == [*range(51, 101)]


def test_a_version_is_read_as_it_was(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 3)
    versions = lake.history(3)
    list(lake.compact())
    for version in versions:
        view = lake.at(version.version)
        assert (view.position, view.rows, view.facts) == (at(version.seq), version.seq, version)
        assert seqs_of(view.read(0, 7)) == [*range(1, version.seq + 1)]
    assert lake.at().facts.operation == "OPTIMIZE"
    with pytest.raises(NotFound, match="no version 99"):
        lake.at(99)


def test_a_version_is_found_by_its_time(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 3)
    for version in lake.history(3):
        view = lake.at(time_us=version.committed_us)
        assert view.facts.committed_us == version.committed_us
        assert view.facts.version >= version.version
    assert lake.at(time_us=later()).position == at(60)
    with pytest.raises(NotFound) as caught:
        lake.at(time_us=1)
    assert caught.value.code == "LAKE_VERSION_GONE"


def test_events_are_counted_as_of_a_version(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 2)
    version = lake.history(1)[0].version
    filled(lake, 3, day=PAST + 1)
    count = lake.at().count(["day", "source"], None, None, 10, 60)
    assert count.rows == [("2022-01-09", "web", 60), ("2022-01-08", "web", 40)]
    assert (count.events, count.others) == (100, 0)
    assert lake.at(version).count(["code"], None, None, 10, 60).rows == [(None, 40)]
    assert lake.at().count([], None, "2022-01-08", 10, 60).rows == [(40,)]
    assert lake.at().count(["day"], "2022-01-09", None, 10, 60).rows == [("2022-01-09", 60)]
    few = lake.at(version).count(["name"], None, None, 3, 60)
    assert (len(few.rows), few.events, few.others) == (3, 40, 37)
    with pytest.raises(BadInput, match="colour"):
        lake.at().count(["colour"], None, None, 3, 60)


def test_vacuum_deletes_what_no_kept_version_needs(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 4)
    version = lake.history(1)[0].version
    list(lake.compact())
    assert lake.vacuumable(1) == [] and list(lake.vacuum(1)) == []
    assert seqs_of(lake.at(version).read(0, 50)) == [*range(1, 81)]
    wanted = lake.vacuumable(later())
    assert len(wanted) == 4
    assert [each for some in lake.vacuum(later()) for each in some] == wanted
    assert lake.vacuumable(later()) == []
    assert seqs_of(reopen().read(0, 50)) == [*range(1, 81)]
    with pytest.raises(NotFound) as caught:
        lake.at(version).count(["day"], None, None, 3, 60)
    assert caught.value.code == "LAKE_VERSION_GONE"


def test_what_is_being_read_is_not_vacuumed(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 4)
    reading = lake.read(0, 10)
    first = next(reading)["seq"].to_pylist()
    list(lake.compact())
    assert lake.vacuumable(later()) == []
    assert first + seqs_of(reading) == [*range(1, 81)]
    assert len(lake.vacuumable(later())) == 4


def test_days_that_are_over_are_removed_whole_and_counted(reopen: Open) -> None:
    lake = reopen()
    for day in range(4):
        filled(lake, 2, day=PAST + day)
    end_of_third = (PAST + 3) * DAY_US
    assert [part.day for part in lake.expirable(end_of_third - 1, 160)] == ["2022-01-08", "2022-01-09"]
    assert [part.day for part in lake.expirable(end_of_third, 119)] == ["2022-01-08", "2022-01-09"]
    assert lake.expired().rows == 0
    assert [(part.day, part.rows) for part in lake.expire(end_of_third - 1, 160)] == [
        ("2022-01-08", 40),
        ("2022-01-09", 40),
    ]
    for _ in range(2):
        assert lake.position() == at(160)
        assert seqs_of(lake.read(0, 30)) == [*range(81, 161)]
        assert lake.expired().rows == 80
        assert lake.expired().counts == {(PAST * 1440, "web"): 40, ((PAST + 1) * 1440, "web"): 40}
        lake = reopen()
    newest = reopen().history(1)[0]
    assert (newest.operation, newest.rows, newest.files, newest.seq) == ("DELETE", -40, -2, 160)


def test_one_care_at_a_time_and_none_of_a_closed_lake(reopen: Open) -> None:
    lake = reopen()
    filled(lake, 3)
    filled(lake, 3, day=PAST + 1)
    merging = lake.compact()
    next(merging)
    with pytest.raises(Unavailable) as caught:
        next(lake.vacuum(later()))
    assert caught.value.code == "LAKE_BUSY"
    lake.close()
    with pytest.raises(Unavailable) as caught:
        next(merging)
    assert caught.value.code == "LAKE_CLOSED"
    lake = reopen()
    assert [part.day for part in lake.compact()] == ["2022-01-09"]
    assert seqs_of(lake.read(0, 1000)) == [*range(1, 121)]


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
