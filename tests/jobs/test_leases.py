"""A lease runs out when it is seen standing still, and by nothing else."""

from headwater.jobs.leases import Watch
from headwater.storage.catalog.jobs import Lease

STILL = Lease("k", "a", 1, 7)


def looked(watch: Watch, times: list[float], lease: Lease = STILL) -> list[bool]:
    return [bool(watch.look([lease], now)) for now in times]


def every(seconds: float, upto: float) -> list[float]:
    return [n * seconds for n in range(int(upto / seconds) + 1)]


def test_a_lease_that_stands_still_for_its_time_has_run_out() -> None:
    seen = looked(Watch(4.0), every(0.25, 5.0))
    assert seen.index(True) * 0.25 == 4.0 and all(seen[16:])


def test_a_heartbeat_begins_the_time_anew() -> None:
    watch = Watch(4.0)
    assert not any(looked(watch, every(0.25, 3.75)))
    assert not any(bool(watch.look([Lease("k", "a", 1, 8)], 4.0 + now)) for now in every(0.25, 3.75))


def test_a_watcher_that_was_stopped_for_an_hour_takes_nothing_at_once() -> None:
    watch = Watch(4.0)
    watch.look([STILL], 0.0)
    assert watch.look([STILL], 3600.0) == []
    assert not any(looked(watch, [3600.0 + now for now in every(0.25, 3.25)]))
    assert watch.look([STILL], 3603.5) == [STILL]


def test_a_doubted_lease_gets_two_seconds_more() -> None:
    watch = Watch(4.0)
    assert looked(watch, every(0.5, 4.0))[-1]
    watch.doubt(STILL)
    assert looked(watch, [4.5, 5.0, 5.5, 6.0]) == [False, False, False, True]


def test_a_lease_that_is_gone_is_forgotten() -> None:
    watch = Watch(1.0)
    looked(watch, every(0.25, 1.0))
    watch.look([], 1.25)
    assert watch.look([STILL], 1.5) == []
