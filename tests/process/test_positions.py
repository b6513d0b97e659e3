"""Where warehouse and lake go on, and when a start is refused."""

import pytest

from headwater.domain.errors import Damaged
from headwater.process.positions import Held, Start, check, first_of_new_log
from headwater.storage.log.base import Position

LOG, OTHER = b"L" * 16, b"O" * 16


def at(seq: int, log_id: bytes = LOG) -> Position:
    return Position(log_id, seq)


def held(first_seq: int, durable_seq: int) -> Held:
    return Held(LOG, first_seq, durable_seq)


def test_new_stores_begin_with_the_log() -> None:
    assert check(held(1, 0), None, None) == Start(0, 0)
    assert check(held(1, 50), None, None) == Start(0, 0)


def test_stores_inside_the_log_go_on_there() -> None:
    assert check(held(11, 50), at(50), at(10)) == Start(50, 10)


def test_a_warehouse_behind_the_log_is_filled_from_the_lake() -> None:
    assert check(held(41, 50), at(20), at(45)) == Start(45, 45, fill=True)
    assert check(held(41, 50), None, at(40)) == Start(40, 40, fill=True)


def test_a_warehouse_that_the_lake_can_not_fill_is_refused() -> None:
    with pytest.raises(Damaged, match="--lake-gap") as caught:
        check(held(41, 50), at(20), at(30))
    assert caught.value.code == "LAKE_BEHIND"
    with pytest.raises(Damaged, match=r"10 seqs are in none of them.*--new-log") as caught:
        check(held(41, 50), at(20), at(30), lake_gap=True)
    assert caught.value.code == "WAREHOUSE_BEHIND"


def test_a_lake_behind_the_log_is_refused_unless_a_person_takes_the_gap() -> None:
    with pytest.raises(Damaged, match=r"ends at seq 30, the log begins at 41: 10 seqs.*--lake-gap"):
        check(held(41, 50), at(45), at(30))
    assert check(held(41, 50), at(45), at(30), lake_gap=True) == Start(45, 40, missing_in_lake=10)


@pytest.mark.parametrize("store", ["warehouse", "lake"])
def test_a_store_ahead_of_the_log_is_refused_for_good(store: str) -> None:
    positions = {"warehouse": at(50), "lake": at(50)} | {store: at(51)}
    for new_log in (False, True):
        with pytest.raises(Damaged, match=f"the {store} stands at seq 51, the log ends at 50.*--new-log") as caught:
            check(held(1, 50), positions["warehouse"], positions["lake"], new_log=new_log)
        assert caught.value.code == "AHEAD_OF_LOG"


@pytest.mark.parametrize("store", ["warehouse", "lake"])
def test_a_store_of_another_log_that_does_not_lie_below_is_refused_for_good(store: str) -> None:
    positions = {"warehouse": at(50), "lake": at(50)} | {store: at(40, OTHER)}
    for new_log in (False, True):
        with pytest.raises(Damaged, match=f"the {store} stands at seq 40 of another log.*--new-log") as caught:
            check(held(1, 50), positions["warehouse"], positions["lake"], new_log=new_log)
        assert caught.value.code == "OTHER_LOG"


def test_a_new_log_begins_above_every_store() -> None:
    assert first_of_new_log(None, None) == 1
    assert first_of_new_log(at(40), at(60, OTHER)) == 61


def test_a_new_log_right_above_both_stores_is_taken_on() -> None:
    assert check(held(41, 40), at(40, OTHER), at(40, OTHER)) == Start(40, 40)


def test_what_a_new_log_leaves_out_needs_a_persons_word() -> None:
    warehouse, lake = at(40, OTHER), at(30, OTHER)
    with pytest.raises(Damaged, match="the lake stands at seq 30 of another log"):
        check(held(41, 40), warehouse, lake)
    assert check(held(41, 40), warehouse, lake, new_log=True) == Start(40, 40, missing_in_lake=10)


def test_a_warehouse_below_a_new_log_takes_from_the_lake_first() -> None:
    start = check(held(41, 40), at(20, OTHER), at(30, OTHER), new_log=True)
    assert start == Start(40, 40, fill=True, missing_in_warehouse=10, missing_in_lake=10)
