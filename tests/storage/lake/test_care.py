"""Which files are merged, and which days are over."""

import datetime as dt
import random

from lakerows import DAY_US, PAST

from headwater.storage.lake import care
from headwater.storage.lake.care import BYTES_TARGET, LIVE_FILES_MIN, ROWS_TARGET
from headwater.storage.lake.compaction import GROUP_BYTES_MAX, ROW_BYTES, Facts, fitting
from headwater.storage.lake.parquet import DataFile

TODAY = dt.date(2022, 1, 9)


def files(*sizes: tuple[int, int], day: int = PAST, first: int = 1) -> list[DataFile]:
    """Of so many (rows, bytes), one after the other."""
    found = []
    for rows, size in sizes:
        last = first + rows - 1
        date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
        found.append(
            DataFile(f"received_on={date}/{first:020d}-{last:020d}-00000000.zstd.parquet", first, last, rows, size)
        )
        first = last + 1
    return found


def test_a_day_that_is_over_is_packed_into_as_few_files_as_its_neighbours_allow() -> None:
    many = files(*[(50_000, 3 << 20)] * 45)
    assert [len(run) for run in care.merges(many, today=TODAY)] == [20, 20, 5]
    heavy = files(*[(1000, BYTES_TARGET // 3)] * 7)
    assert [len(run) for run in care.merges(heavy, today=TODAY)] == [3, 3]


def test_what_was_merged_is_not_merged_again() -> None:
    """Whatever the sizes: the plan after a plan is empty."""
    for seed in range(200):
        chance = random.Random(seed)
        sizes = [(chance.randrange(1, ROWS_TARGET), chance.randrange(1, BYTES_TARGET)) for _ in range(30)]
        before = files(*sizes)
        runs = care.merges(before, today=TODAY)
        assert all(sum(each.rows for each in run) <= ROWS_TARGET for run in runs)
        assert all(sum(each.bytes for each in run) <= BYTES_TARGET for run in runs)
        merged = {run[0].path: (sum(each.rows for each in run), sum(each.bytes for each in run)) for run in runs}
        gone = {each.path for run in runs for each in run[1:]}
        after = [merged.get(each.path, (each.rows, each.bytes)) for each in before if each.path not in gone]
        assert care.merges(files(*after), today=TODAY) == []


def test_of_a_day_that_is_not_over_full_files_are_made_or_many_are_merged() -> None:
    live = (TODAY - dt.date(1970, 1, 1)).days
    few = files(*[(100, 1000)] * (LIVE_FILES_MIN - 1), day=live)
    assert care.merges(few, today=TODAY) == []
    assert [len(run) for run in care.merges([*few, *files((1, 1), day=live, first=9999)], today=TODAY)] == [16]
    large = files((600_000, 1), (300_000, 1), (300_000, 1), (300_000, 1), (300_000, 1), day=live)
    assert [[each.rows for each in run] for run in care.merges(large, today=TODAY)] == [[300_000] * 3]


def test_a_file_that_is_left_alone_parts_its_neighbours() -> None:
    five = files(*[(10, 1000)] * 5)
    assert care.merges(five, {five[2].path}, TODAY) == [five[:2], five[3:]]
    assert care.merges(five, {five[1].path, five[3].path}, TODAY) == []


def test_days_are_over_when_they_have_ended_and_nobody_needs_them() -> None:
    two, one = files((10, 1), (10, 1)), files((10, 1), day=PAST + 1, first=21)
    everything = [*two, *one]
    assert care.over(everything, (PAST + 1) * DAY_US - 1, 99) == []
    assert care.over(everything, (PAST + 1) * DAY_US, 99) == [two]
    assert care.over(everything, (PAST + 1) * DAY_US, 19) == []
    assert care.over(everything, (PAST + 2) * DAY_US, 29) == [two]
    assert care.over(everything, (PAST + 2) * DAY_US, 30) == [two, one]


def facts(rows: int, event_bytes: int) -> Facts:
    return Facts(rows, 0, 0, 0, 1, rows, rows * (event_bytes + ROW_BYTES))


def test_events_that_are_too_wide_for_a_row_group_stay_in_several_files() -> None:
    usual, wide = facts(50_000, 400), facts(60, 1 << 20)
    three = files((50_000, 1), (50_000, 1), (60, 1))
    assert [len(part) for part, _ in fitting(three, [usual, usual, wide])] == [2, 1]
    few = files(*[(3, 1)] * 30)
    parts = [part for part, _ in fitting(few, [facts(3, 1 << 20)] * 30)]
    assert [len(part) for part in parts] == [21, 9]
    assert GROUP_BYTES_MAX >= 21 * 3 * (1 << 20)
