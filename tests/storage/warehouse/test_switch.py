"""Another file takes the place of a warehouse that is in use, or of one that is not."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.blocks import block, event

from headwater.domain.errors import Conflict, Damaged
from headwater.storage.warehouse import beside, discard_warehouse, drop_kept, open_warehouse, replace_warehouse
from headwater.storage.warehouse.duckdb import switch
from headwater.storage.warehouse.duckdb.store import DuckWarehouse


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def opened(home: Path) -> Any:
    made: list[DuckWarehouse] = []

    def make(**settings: Any) -> DuckWarehouse:
        made.append(DuckWarehouse(home, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def names(warehouse: DuckWarehouse) -> list[str]:
    with warehouse.state.cursor() as cursor:
        return [name for (name,) in cursor.execute("select name from events_all order by seq").fetchall()]


def built(warehouse: DuckWarehouse, name: str, rows: int = 2) -> DuckWarehouse:
    new = warehouse.beside("other", 64 << 20)
    new.load(block([event(seq, name=name) for seq in range(1, rows + 1)], rows))
    return new


def no_more(at: Any) -> None:
    """The new one is there already."""


def test_after_a_switch_the_same_object_answers_from_the_new_file_and_takes_loads(opened: Any, home: Path) -> None:
    warehouse = opened()
    warehouse.load(block([event(1), event(2)], 2))
    new = built(warehouse, "new")
    told: list[Any] = []
    retire = warehouse.switch(new, told.append)
    assert told == [warehouse.position()]
    assert names(warehouse) == ["new", "new"]
    retire()
    warehouse.load(block([event(3)], 3, 2))
    assert names(warehouse) == ["new", "new", "page_view"]
    new.close()
    warehouse.load(block([event(4)], 4, 3))
    warehouse.close()
    assert sorted(each.name for each in home.parent.glob("*.next-*") if each.is_file()) == []
    again = opened()
    assert names(again) == ["new", "new", "page_view", "page_view"]
    assert again.position().seq == 4


def test_questions_under_way_are_answered_by_the_old_file(opened: Any) -> None:
    warehouse = opened()
    warehouse.load(block([event(1), event(2)], 2))
    new = built(warehouse, "new")
    with warehouse.state.cursor() as cursor:
        warehouse.switch(new, no_more)()
        assert warehouse.kept_bytes(drop=True) > 0
        assert cursor.execute("select distinct name from events_all").fetchall() == [("page_view",)]
    warehouse.load(block([event(3)], 3, 2))
    assert names(warehouse) == ["new", "new", "page_view"]


def test_loads_wait_while_the_last_events_are_taken(opened: Any) -> None:
    warehouse = opened()
    warehouse.load(block([event(1), event(2)], 2))
    new = warehouse.beside("other", 64 << 20)
    loading = threading.Thread(target=lambda: warehouse.load(block([event(3)], 3, 2)))

    def finish(at: Any) -> None:
        loading.start()
        new.load(block([event(1), event(2)], at.seq))
        assert loading.is_alive()

    warehouse.switch(new, finish)()
    loading.join(10)
    assert warehouse.position().seq == 3 and len(names(warehouse)) == 3


def test_one_that_stands_elsewhere_or_whose_end_fails_changes_nothing(opened: Any, home: Path) -> None:
    warehouse = opened()
    warehouse.load(block([event(1), event(2)], 2))
    new = built(warehouse, "new", rows=1)
    with pytest.raises(Conflict):
        warehouse.switch(new, no_more)

    def finish(at: Any) -> None:
        raise Damaged("it differs", code="REBUILD_DIFFERS")

    with pytest.raises(Damaged):
        warehouse.switch(new, finish)
    assert names(warehouse) == ["page_view", "page_view"]
    warehouse.load(block([event(3)], 3, 2))
    new.close()
    warehouse.drop_begun()
    assert not list(home.parent.glob("*.next-*"))
    assert not switch._pointer_of(home).exists()


def test_several_switches_before_the_next_opening_keep_each_old_file(opened: Any, home: Path) -> None:
    warehouse = opened()
    warehouse.load(block([event(1)], 1))
    for name in ("b", "c"):
        new = warehouse.beside(name, 64 << 20)
        new.load(block([event(1, name=name)], 1))
        warehouse.switch(new, no_more)()
    assert names(warehouse) == ["c"]
    warehouse.close()
    assert len(switch.kept(home)) == 2
    again = opened()
    assert names(again) == ["c"]
    assert again.kept_bytes(drop=True) > 0 and again.kept_bytes() == 0


def test_the_one_in_use_is_not_built_upon(opened: Any) -> None:
    warehouse = opened()
    warehouse.switch(warehouse.beside("other", 64 << 20), no_more)()
    with pytest.raises(Conflict):
        warehouse.beside("other", 64 << 20)


def test_what_was_kept_for_a_week_goes_at_the_next_opening(opened: Any, home: Path) -> None:
    old, young = (home.with_name(f"{home.name}.before-rebuild-{stamp}") for stamp in ("20200101T000000Z", "29990101T0"))
    for each in (old, young):
        each.write_bytes(b"x")
    opened()
    assert not old.exists() and young.exists()


def test_a_closed_warehouse_is_replaced_by_one_made_beside_it(home: Path) -> None:
    url = f"duckdb://{home}"
    for place, name in ((url, "old"), (beside(url, "new"), "new")):
        made = open_warehouse(place)
        made.load(block([event(1, name=name)], 1))
        made.close()
    replace_warehouse(url, beside(url, "new"))
    assert sorted(each.name for each in home.parent.glob("*.duckdb*") if ".temp" not in each.name)[0] == home.name
    again = DuckWarehouse(home)
    assert names(again) == ["new"]
    again.close()
    assert drop_kept(url) > 0 and discard_warehouse(beside(url, "none")) == 0


@pytest.mark.parametrize(
    "at, names_after",
    [
        ("warehouse.switch.before_rename", ["page_view", "page_view", "old"]),
        ("warehouse.switch.after_rename", ["page_view", "page_view", "new"]),
    ],
)
def test_killed_in_the_middle_of_a_switch_the_one_or_the_other_is_whole(home: Path, at: str, names_after: Any) -> None:
    child = [sys.executable, str(Path(__file__).with_name("switcher.py")), str(home)]
    killed = subprocess.run(child, env={**os.environ, "HEADWATER_CRASH_AT": at}, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    if "after" in at:
        # The first opening after it is killed as well, between the two moves.
        again = subprocess.run(
            [*child, "--open"], env={**os.environ, "HEADWATER_CRASH_AT": "warehouse.switch.before_move"}, timeout=60
        )
        assert again.returncode == -signal.SIGKILL
    warehouse = DuckWarehouse(home)
    try:
        assert names(warehouse) == names_after
        assert warehouse.position().seq == 3
        warehouse.drop_begun()
        assert not list(home.parent.glob("*.next-*"))
        warehouse.load(block([event(4)], 4, 3))
    finally:
        warehouse.close()


def test_a_pointer_that_can_not_be_read_or_points_nowhere_is_damage(home: Path) -> None:
    pointer = switch._pointer_of(home)
    pointer.write_text("one word only")
    with pytest.raises(Damaged, match="which file counts"):
        DuckWarehouse(home)
    pointer.write_text("gone\nkept\n")
    with pytest.raises(Damaged, match="took its place"):
        DuckWarehouse(home)


def test_read_only_changes_nothing_and_finds_the_file_that_counts(opened: Any, home: Path) -> None:
    with pytest.raises(Damaged, match="it is gone"):
        DuckWarehouse(home, read_only=True)
    assert not list(home.parent.iterdir())
    warehouse = opened()
    warehouse.load(block([event(1)], 1))
    new = built(warehouse, "new", rows=1)
    new.close()
    switch.point(home, new.state.database.files.database)
    warehouse.state.database.con.close()
    warehouse.state.database.con = None
    before = {each.name: each.read_bytes() for each in home.parent.iterdir() if each.is_file()}
    looked = DuckWarehouse(home, read_only=True)
    assert names(looked) == ["new"] and looked.tally().stored == 1
    looked.close()
    assert {each.name: each.read_bytes() for each in home.parent.iterdir() if each.is_file()} == before
