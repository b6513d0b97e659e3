"""The engine that writes the files: open while it is used often, closed when not."""

import threading

import pytest

from headwater.storage.lake.parquet import WarmEngine

WAIT_SECONDS = 30.0


def test_one_engine_serves_uses_that_follow_each_other() -> None:
    engine = WarmEngine(warm_seconds=WAIT_SECONDS)
    with engine.use() as first:
        first.execute("create table here as select 1")
    with engine.use() as second:
        assert second.execute("from here").fetchall() == [(1,)]
    assert engine.is_open()
    engine.close()
    assert not engine.is_open()


def test_it_is_closed_when_it_was_not_used_for_a_while() -> None:
    engine = WarmEngine(warm_seconds=0.01)
    with engine.use():
        assert engine.is_open()
    cooling = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    for each in cooling:
        each.join(WAIT_SECONDS)
    assert not engine.is_open()
    with engine.use() as again:
        assert again.execute("select 1").fetchall() == [(1,)]
    engine.close()


def test_after_an_error_the_next_use_gets_a_new_engine() -> None:
    engine = WarmEngine(warm_seconds=WAIT_SECONDS)
    with engine.use() as broken:
        broken.execute("create table here as select 1")
    with pytest.raises(ValueError, match="on purpose"), engine.use():
        raise ValueError("on purpose")
    assert not engine.is_open()
    with engine.use() as fresh:
        assert fresh.execute("select count(*) from duckdb_tables()").fetchall() == [(0,)]
    engine.close()
