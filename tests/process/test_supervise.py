"""What dies is started again, later each time; what is asked to stop stops."""

import threading

from headwater.process.supervise import Supervisor

WAIT_SECONDS = 10.0


class Watch:
    """Remembers the states told, and lets a test wait for one."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.changed = threading.Condition()

    def __call__(self, name: str, state: str, reason: str) -> None:
        with self.changed:
            self.told.append((name, state, reason))
            self.changed.notify_all()

    def wait_for(self, state: str, times: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sum(told[1] == state for told in self.told) >= times, WAIT_SECONDS), (
                self.told
            )


def test_what_dies_is_started_again_and_the_reason_is_told():
    watch = Watch()
    starts = []

    def target(stop: threading.Event) -> None:
        starts.append(1)
        if len(starts) < 3:
            raise ValueError("bad day")
        stop.wait()

    supervisor = Supervisor(watch, backoff_seconds_min=0.001)
    supervisor.start("stream", target)
    watch.wait_for("running", 3)
    assert supervisor.restarts == {"stream": 2}
    assert "bad day" in supervisor.last_traceback["stream"]
    assert supervisor.stop(WAIT_SECONDS) == []
    assert [told[1] for told in watch.told] == ["running", "failed", "running", "failed", "running", "stopped"]
    assert watch.told[1] == ("stream", "failed", "ValueError: bad day")


def test_a_target_that_ends_unasked_is_started_again():
    watch = Watch()
    supervisor = Supervisor(watch, backoff_seconds_min=0.001)
    supervisor.start("short", lambda stop: None)
    watch.wait_for("failed", 2)
    assert supervisor.stop(WAIT_SECONDS) == []
    assert ("short", "failed", "ended without being asked") in watch.told


def test_one_that_dies_does_not_touch_the_others():
    watch = Watch()
    supervisor = Supervisor(watch, backoff_seconds_min=0.001)
    supervisor.start("steady", lambda stop: stop.wait() and None)
    supervisor.start("shaky", lambda stop: 1 / 0 and None)
    watch.wait_for("failed", 3)
    assert supervisor.stop(WAIT_SECONDS) == []
    assert supervisor.restarts["steady"] == 0 and supervisor.restarts["shaky"] >= 3


def test_stopping_does_not_wait_for_a_backoff():
    watch = Watch()
    supervisor = Supervisor(watch, backoff_seconds_min=1000.0)
    supervisor.start("shaky", lambda stop: 1 / 0 and None)
    watch.wait_for("failed")
    assert supervisor.stop(WAIT_SECONDS) == []
    assert watch.told[-1] == ("shaky", "stopped", "")


def test_what_does_not_stop_in_time_is_named():
    release = threading.Event()
    supervisor = Supervisor(Watch())
    supervisor.start("deaf", lambda stop: release.wait() and None)
    supervisor.start("good", lambda stop: stop.wait() and None)
    assert supervisor.stop(0.05) == ["deaf"]
    release.set()
    assert supervisor.stop(WAIT_SECONDS) == []
