import threading

import pytest

from headwater.observe.gauges import Registry
from headwater.observe.health import Health


@pytest.fixture
def health() -> Health:
    return Health(Registry())


def reasons(answer: dict[str, object]) -> list[tuple[str, str]]:
    found = answer["reasons"]
    assert isinstance(found, list)
    return [(reason["name"], reason["code"]) for reason in found]


def test_nothing_registered_is_not_ready_but_alive(health: Health) -> None:
    assert health.ready()["status"] == "down"
    assert health.live() == {"status": "ok", "reasons": []}


def test_a_part_is_starting_until_it_reports(health: Health) -> None:
    health.register("log")
    assert health.ready()["status"] == "down"
    assert reasons(health.ready()) == [("log", "STARTING")]
    health.ok("log")
    assert health.ready() == {"status": "ok", "reasons": []}


def test_a_degraded_part_leaves_the_house_ready_and_is_named(health: Health) -> None:
    health.register("log")
    health.degraded("log", "LAG_HIGH", "70000 events behind, soft bound 60000")
    ready = health.ready()
    assert ready["status"] == "degraded"
    (reason,) = ready["reasons"]
    assert (reason["state"], reason["detail"]) == ("degraded", "70000 events behind, soft bound 60000")
    assert reason["since"].endswith("Z") and "sinceUs" not in reason


def test_only_a_needed_part_that_is_down_makes_the_house_unready(health: Health) -> None:
    health.register("log")
    health.register("lake", needed=False)
    health.ok("log")
    health.down("lake", "DISK_FULL", "no space")
    assert health.ready()["status"] == "degraded"
    health.down("log", "DISK_FULL", "no space")
    assert health.ready()["status"] == "down"
    assert reasons(health.ready()) == [("lake", "DISK_FULL"), ("log", "DISK_FULL")]


def test_only_a_vital_part_that_is_down_makes_the_process_dead(health: Health) -> None:
    health.register("log")
    health.register("writer", vital=True)
    health.down("log", "DISK_FULL", "no space")
    assert health.live()["status"] == "ok"
    assert reasons(health.live()) == []  # starting is not dead
    health.down("writer", "THREAD_DEAD", "start again")
    assert health.live()["status"] == "down"
    assert reasons(health.live()) == [("writer", "THREAD_DEAD")]


def test_since_moves_only_when_the_state_or_its_code_changes(health: Health) -> None:
    health.register("log")
    health.degraded("log", "LAG_HIGH", "1")
    (first,) = health.parts()
    health.degraded("log", "LAG_HIGH", "2")
    (second,) = health.parts()
    assert (second.since_us, second.detail) == (first.since_us, "2")
    health.ok("log")
    assert health.parts()[0].since_us > first.since_us


def test_restarts_are_counted_and_kept_when_a_part_is_registered_again(health: Health) -> None:
    health.register("process")
    for _ in range(3):
        health.restarted("process", "OSError: no space")
    (part,) = health.parts()
    assert (part.restarts, part.state, part.code) == (3, "degraded", "RESTARTED")
    health.register("process")
    assert health.parts()[0].restarts == 3


def test_a_part_that_is_gone_counts_no_more(health: Health) -> None:
    health.register("log")
    health.ok("log")
    health.register("shop")
    health.remove("shop")
    health.remove("shop")
    assert health.ready()["status"] == "ok"


def test_states_and_restarts_stand_in_the_gauges() -> None:
    registry = Registry()
    health = Health(registry)
    health.register("log")
    health.restarted("log", "x")
    text = registry.exposition().decode()
    assert 'headwater_part_state{part="log"} 1.0' in text
    assert 'headwater_part_restarts_total{part="log"} 1.0' in text


def test_restarts_from_several_threads_are_all_counted(health: Health) -> None:
    health.register("process")
    threads = [
        threading.Thread(target=lambda: [health.restarted("process", "x") for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert health.parts()[0].restarts == 800
