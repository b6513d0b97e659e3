"""What the runner does with a job, over a real catalog."""

import sqlite3
import threading
import time
from typing import Any

import pytest
from tests.jobs.conftest import LEASE_SECONDS, wait_for

from headwater.domain.errors import BadInput, Unavailable
from headwater.jobs.base import JobCancelled, JobStopping, JobTimedOut, Kind, LeaseLost
from headwater.jobs.settle import delay_seconds


def endless(job: Any) -> None:
    """Saves a number that rises, until it is told to end."""
    n = job.checkpoint["n"] if job.checkpoint else 0
    while True:
        n += 1
        job.save({"n": n}, done=n)
        threading.Event().wait(0.01)


def test_a_job_is_run_with_its_arguments_and_its_result_is_kept(works):
    def add(job):
        job.save({"half": True}, done=1, total=2, unit="sums", note=f"for {job.project}")
        job.tell(done=2)
        return {"sum": job.args["a"] + job.args["b"], "attempt": job.attempt}

    room = works(add=add)
    done = room.ended(room.put("add", a=2, b=3))
    assert (done.state, done.result, done.error) == ("succeeded", {"sum": 5, "attempt": 1}, None)
    progress = done.progress
    assert (progress.done, progress.total, progress.unit, progress.note) == (2, 2, "sums", "for p")


def test_an_unknown_kind_is_refused_with_the_nearest_one(works):
    room = works(compact=lambda job: None)
    with pytest.raises(BadInput, match="did you mean 'compact'") as caught:
        room.put("compat")
    assert caught.value.code == "UNKNOWN_JOB_KIND"
    assert room.jobs.list("p", limit=9) == []


def test_a_job_that_always_fails_is_tried_as_often_as_allowed_and_then_failed(works, monkeypatch):
    monkeypatch.setattr("headwater.jobs.runner.HEALTH_EVERY_SECONDS", 0.0)
    tries = []

    def fail(job):
        tries.append(job.attempt)
        raise ValueError("a secret")

    room = works(fail=Kind(fail, lane="work", attempts_max=4))
    failed = room.ended(room.put("fail"))
    assert (failed.state, failed.failures, tries) == ("failed", 4, [1, 2, 3, 4])
    assert failed.error.code == "INTERNAL" and "secret" not in failed.error.detail
    wait_for(lambda: room.health.ready()["reasons"], 8)
    (reason,) = room.health.ready()["reasons"]
    assert reason["code"] == "JOBS_FAILING" and failed.id in reason["detail"]


def test_an_error_of_the_house_is_told_and_one_in_the_request_is_not_tried_again(works):
    def full(job):
        raise Unavailable("no room on the disk", code="DISK_FULL")

    def wrong(job):
        raise BadInput("no such field", code="UNKNOWN_FIELD")

    room = works(full=Kind(full, lane="work", attempts_max=2), wrong=wrong)
    failed = room.ended(room.put("full"))
    assert (failed.failures, failed.error.code, failed.error.detail) == (2, "DISK_FULL", "no room on the disk")
    failed = room.ended(room.put("wrong"))
    assert (failed.state, failed.attempt, failed.error.code) == ("failed", 1, "UNKNOWN_FIELD")


def test_a_failure_goes_on_from_the_checkpoint(works):
    steps = []

    def flaky(job):
        done = job.checkpoint["done"] if job.checkpoint else 0
        for n in range(done, 6):
            steps.append(n)
            if n == 3 and job.attempt == 1:
                raise OSError("once")
            job.save({"done": n + 1}, done=n + 1)

    room = works(flaky=flaky)
    done = room.ended(room.put("flaky"))
    assert (done.state, done.attempt, done.failures, done.error) == ("succeeded", 2, 1, None)
    assert steps == [0, 1, 2, 3, 3, 4, 5]


def test_delays_double_up_to_five_minutes_and_are_spread():
    for failures, most in ((0, 1), (1, 2), (5, 32), (9, 300), (10_000, 300)):
        drawn = [delay_seconds(failures, 1.0) for _ in range(200)]
        assert most / 2 <= min(drawn) and max(drawn) <= most and len(set(drawn)) > 100


def test_a_running_job_that_is_cancelled_ends_at_its_next_look_and_keeps_what_it_saved(works):
    room = works(endless=endless)
    row = room.running(room.put("endless"))
    began = time.monotonic()
    room.jobs.cancel("p", row.id)
    cancelled = room.ended(row)
    assert time.monotonic() - began < 1.5
    assert (cancelled.state, cancelled.error, cancelled.result) == ("cancelled", None, None)
    assert cancelled.checkpoint["n"] == cancelled.progress.done > 0


def test_a_long_step_without_saves_is_told_by_the_heartbeat(works):
    told = []

    def patient(job):
        wait_for(job.cancelled)
        try:
            job.check()
        except JobCancelled:
            told.append("cancelled")
            raise RuntimeError("the query was interrupted") from None

    room = works(patient=patient)
    row = room.running(room.put("patient"))
    room.jobs.cancel("p", row.id)
    assert room.ended(row).state == "cancelled", "an error that came of being told counts as that"
    assert told == ["cancelled"]


def test_a_long_step_keeps_its_lease(works):
    go = threading.Event()
    room, other = works(long=lambda job: go.wait(10) and None), works(long=lambda job: None)
    row = room.running(room.put("long"))
    threading.Event().wait(2.5 * LEASE_SECONDS)
    assert other.get(row).attempt == 1
    go.set()
    assert room.ended(row).attempt == 1


def test_a_stop_gives_the_job_back_at_its_checkpoint_and_the_next_worker_has_it_at_once(works):
    room = works(endless=endless)
    row = room.put("endless")
    wait_for(lambda: room.get(row).progress.done > 5)
    assert room.runner.stop(5) == []
    back = room.get(row)
    assert (back.state, back.failures, back.worker) == ("queued", 0, None) and back.checkpoint["n"] > 5
    began = time.monotonic()
    other = works(endless=lambda job: {"from": job.checkpoint["n"]})
    done = other.ended(row)
    assert time.monotonic() - began < LEASE_SECONDS
    assert (done.attempt, done.result) == (2, {"from": back.checkpoint["n"]})


def test_a_stopping_runner_begins_nothing_more(works):
    room = works(quick=lambda job: None)
    room.runner.ask_stop()
    row = room.put("quick")
    threading.Event().wait(0.4)
    assert room.get(row).state == "queued"


def test_an_attempt_that_takes_too_long_is_told_and_counts_as_failed(works):
    room = works(endless=Kind(endless, lane="work", attempts_max=2, timeout_seconds=0.1))
    failed = room.ended(room.put("endless"))
    assert (failed.state, failed.attempt, failed.error.code) == ("failed", 2, "JOB_TIMEOUT")


def test_a_hung_job_is_left_alone_and_does_not_keep_its_lane(works, monkeypatch):
    monkeypatch.setattr("headwater.jobs.runner.HUNG_SECONDS", 0.2)
    go = threading.Event()
    room = works(hang=Kind(lambda job: go.wait() and None, lane="work", timeout_seconds=0.1), quick=lambda job: None)
    hung = room.ended(room.put("hang"))
    assert (hung.state, hung.error.code, hung.attempt) == ("failed", "JOB_HUNG", 1)
    assert room.runner.hung == 1
    assert room.ended(room.put("quick")).state == "succeeded"
    go.set()
    wait_for(lambda: room.runner.hung == 0)
    assert room.get(hung) == hung, "what it said afterwards counts for nothing"


def test_with_too_many_hung_jobs_none_are_begun_and_health_says_so(works, monkeypatch):
    monkeypatch.setattr("headwater.jobs.runner.HUNG_SECONDS", 0.1)
    monkeypatch.setattr("headwater.jobs.runner.HUNG_MAX", 2)
    monkeypatch.setattr("headwater.jobs.runner.HEALTH_EVERY_SECONDS", 0.0)
    go = threading.Event()
    hang = Kind(lambda job: go.wait() and None, lane="work", timeout_seconds=0.1)
    room = works(lanes={"work": 2}, hang=hang, quick=lambda job: None)
    for row in [room.put("hang") for _ in range(2)]:
        room.ended(row)
    row = room.put("quick")
    wait_for(lambda: [reason["code"] for reason in room.health.ready()["reasons"]] == ["JOBS_HUNG"])
    assert room.get(row).state == "queued"
    go.set()
    assert room.ended(row).state == "succeeded"


def test_a_lane_runs_as_many_as_it_may_and_never_keeps_another_waiting(works):
    go, running, most = threading.Event(), [], []

    def slow(job):
        running.append(job.id)
        most.append(len(running))
        go.wait(10)
        running.remove(job.id)

    room = works(lanes={"slow": 2}, slow=Kind(slow, lane="slow"), quick=Kind(lambda job: None, lane="quick"))
    rows = [room.put("slow") for _ in range(5)]
    wait_for(lambda: len(running) == 2)
    assert room.ended(room.put("quick")).state == "succeeded"
    assert room.runner.busy() == {"slow": (2, 2), "quick": (0, 1)}
    go.set()
    assert {room.ended(row).state for row in rows} == {"succeeded"}
    assert max(most) == 2


def test_a_job_of_a_kind_that_this_process_does_not_know_waits_for_one_that_does(works):
    old = works(known=lambda job: None)
    row, _ = old.jobs.enqueue("p", "new", "work", {}, attempts_max=3, queued_max=9)
    assert old.ended(old.put("known")).state == "succeeded"
    assert old.get(row).state == "queued"
    assert works(new=lambda job: None).ended(row).state == "succeeded"


def test_a_worker_that_lost_its_lease_can_save_nothing_more(works):
    ended = []

    def slow(job):
        try:
            endless(job)
        except LeaseLost as lost:
            ended.append(lost)
            raise

    room = works(slow=slow)
    row = room.running(room.put("slow"))
    taken = wait_for(lambda: take_over(room, row))
    wait_for(lambda: ended)
    now = room.get(row)
    assert (now.state, now.attempt, now.worker) == ("running", 2, "thief")
    assert now.checkpoint == taken.checkpoint


def take_over(room: Any, row: Any) -> Any:
    (lease,) = room.jobs.leases([row.kind])
    return room.jobs.take_over(lease, "thief")


def test_while_another_process_holds_the_catalog_nothing_is_lost_and_it_is_said(works, url, monkeypatch):
    monkeypatch.setattr("headwater.jobs.runner.HEALTH_EVERY_SECONDS", 0.0)
    room = works(endless=endless)
    monkeypatch.setattr(room.catalog, "_busy_seconds_max", 0.2)
    room.catalog._writer.execute("pragma busy_timeout = 200")
    row = room.put("endless")
    wait_for(lambda: room.get(row).progress.done > 2)
    with sqlite3.connect(url.removeprefix("sqlite://"), isolation_level=None) as holder:
        holder.execute("begin immediate")
        held = room.get(row).checkpoint["n"]
        threading.Event().wait(1.5 * LEASE_SECONDS)
        assert room.get(row).checkpoint["n"] == held
        holder.execute("rollback")
    holder.close()
    wait_for(lambda: room.get(row).checkpoint["n"] > held)
    now = room.get(row)
    assert (now.state, now.attempt, now.failures) == ("running", 1, 0)


def test_what_a_job_gives_must_be_json_within_its_limit(works):
    room = works(large=lambda job: {"x": "y" * 70_000}, odd=lambda job: {"x": object()})
    failed = room.ended(room.put("large"))
    assert (failed.state, failed.error.code) == ("failed", "OBJECT_TOO_LARGE")
    failed = room.ended(room.put("odd"))
    assert (failed.state, failed.error.code) == ("failed", "BAD_JOB_RESULT")


def test_a_schedule_that_came_due_many_times_while_nothing_ran_is_done_once(works):
    ran = []
    room = works(nightly=lambda job: ran.append(job.args))
    room.queue.schedule("p", "nightly", "nightly", "* * * * *", "Europe/Berlin", {"deep": True})
    (set_up,) = room.catalog.schedules.list()
    assert room.jobs.now_us() < set_up.next_us <= room.jobs.now_us() + 60_000_000
    room.queue.unschedule("p", "nightly")
    two_days_ago = set_up.next_us - 2 * 86_400_000_000
    import msgspec

    room.catalog.schedules.put(msgspec.structs.replace(set_up, next_us=two_days_ago))
    wait_for(lambda: ran)
    (job,) = room.jobs.list("p", limit=9)
    assert room.ended(job).state == "succeeded" and ran == [{"deep": True}]
    (after,) = room.catalog.schedules.list()
    assert after.next_us > room.jobs.now_us()


def test_a_schedule_that_can_not_be_computed_keeps_no_other_from_being_fired(works):
    import msgspec

    room = works(nightly=lambda job: None)
    room.queue.schedule("p", "good", "nightly", "0 3 * * *", "UTC")
    (good,) = room.catalog.schedules.list()
    room.queue.unschedule("p", "good")
    for name, zone in (("bad", "Mars/Olympus"), ("good", "UTC")):
        room.catalog.schedules.put(msgspec.structs.replace(good, name=name, time_zone=zone, next_us=5))
    wait_for(lambda: room.jobs.list("p", limit=9))
    (job,) = room.jobs.list("p", limit=9)
    assert job.dedup_key == "schedule:good" and room.ended(job).state == "succeeded"


@pytest.mark.parametrize("why", [JobCancelled(), JobStopping(), JobTimedOut("late")])
def test_the_first_reason_to_end_stands_but_a_lost_lease_is_stronger(works, why):
    from headwater.jobs.attempt import Attempt

    room = works(kind=lambda job: None)
    row, _ = room.jobs.enqueue("p", "other", "work", {}, attempts_max=1, queued_max=9)
    attempt = Attempt(row, Kind(endless, lane="work"), room.jobs)
    attempt.end(why)
    attempt.end(JobCancelled())
    assert attempt.ended is why
    with pytest.raises(type(why)):
        attempt.check()
    attempt.end(LeaseLost())
    with pytest.raises(LeaseLost):
        attempt.save({})
