"""What every catalog promises, over all backends: embedded ones always, others by $HEADWATER_TEST_CATALOG_<NAME>."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import BadInput, Conflict, NotFound, Overloaded, TooLarge, Unavailable
from headwater.storage.catalog import KNOWN, open_catalog
from headwater.storage.catalog.base import Catalog, every
from headwater.storage.catalog.jobs import JobError, JobRow, Progress, Pulse
from headwater.storage.catalog.schedules import Schedule
from headwater.storage.log.base import SegmentCounts

EMBEDDED = {"sqlite"}


@pytest.fixture(params=sorted(KNOWN))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param in EMBEDDED:
        return f"{request.param}://{tmp_path}/catalog.sqlite"
    variable = f"HEADWATER_TEST_CATALOG_{request.param.upper()}"
    if variable not in os.environ:
        pytest.skip(f"needs ${variable}")
    return os.environ[variable]


@pytest.fixture
def opened() -> Iterator[Callable[[str], Catalog]]:
    catalogs: list[Catalog] = []

    def open_one(url: str) -> Catalog:
        catalogs.append(open_catalog(url))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


@pytest.fixture
def catalog(url: str, opened: Callable[[str], Catalog]) -> Catalog:
    return opened(url)


def run(script: str, url: str) -> "subprocess.Popen[str]":
    """Another process with `catalog` open on the same URL; `say(x)` prints a line at once."""
    head = (
        "import sys\nfrom headwater.storage.catalog import open_catalog\n"
        "def say(x): print(x, flush=True)\ncatalog = open_catalog(sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate(timeout=60)
    return out


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"unknown scheme 'etcd' .* known: sqlite"):
        open_catalog("etcd://h")


def test_a_new_catalog_is_empty_at_revision_0(catalog: Catalog) -> None:
    assert catalog.revision() == 0
    assert catalog.get("schema", "default", "signup") is None
    assert list(catalog.list("schema", "default")) == []


def test_what_was_put_comes_back_whole(catalog: Catalog) -> None:
    body = {"text": "ümläut '\" \u2028", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}, "big": 2**60}
    put = catalog.put("schema", "default", "signup", body)
    got = catalog.get("schema", "default", "signup")
    assert got == put
    assert got is not None and got.body == body and got.version == 1
    assert got.created_us == got.updated_us > 1_700_000_000_000_000


def test_versions_count_up_and_all_stay_readable(catalog: Catalog) -> None:
    for n in range(1, 4):
        assert catalog.put("schema", "p", "a", {"n": n}).version == n
    versions = catalog.versions("schema", "p", "a")
    assert [(v.version, v.body["n"]) for v in versions] == [(3, 3), (2, 2), (1, 1)]
    assert len({v.created_us for v in versions}) == 1


def test_a_deleted_object_keeps_its_versions_and_a_new_one_counts_on(catalog: Catalog) -> None:
    catalog.put("schema", "p", "a", {"n": 1})
    assert catalog.delete("schema", "p", "a") is True
    assert catalog.delete("schema", "p", "a") is False
    assert catalog.get("schema", "p", "a") is None
    assert [v.version for v in catalog.versions("schema", "p", "a")] == [1]
    assert catalog.put("schema", "p", "a", {"n": 2}, if_version=0).version == 2


def test_create_only_if_new(catalog: Catalog) -> None:
    catalog.put("key", "p", "a", {}, if_version=0)
    with pytest.raises(Conflict, match="key 'a' exists already, at version 1") as caught:
        catalog.put("key", "p", "a", {}, if_version=0)
    assert caught.value.code == "ALREADY_EXISTS"


def test_a_lost_update_is_refused_and_changes_nothing(catalog: Catalog) -> None:
    catalog.put("key", "p", "a", {"n": 1})
    catalog.put("key", "p", "a", {"n": 2}, if_version=1)
    revision = catalog.revision()
    for change in (
        lambda: catalog.put("key", "p", "a", {"n": 3}, if_version=1),
        lambda: catalog.delete("key", "p", "a", if_version=1),
        lambda: catalog.put("key", "p", "gone", {}, if_version=4),
        lambda: catalog.delete("key", "p", "gone", if_version=4),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.code == "VERSION_MISMATCH"
    assert catalog.revision() == revision
    got = catalog.get("key", "p", "a")
    assert got is not None and got.body == {"n": 2}


def test_of_many_writers_on_one_version_exactly_one_wins(catalog: Catalog) -> None:
    catalog.put("key", "p", "a", {"winner": None})
    won: list[int] = []
    start = threading.Barrier(8)

    def write(n: int) -> None:
        start.wait()
        try:
            catalog.put("key", "p", "a", {"winner": n}, if_version=1)
            won.append(n)
        except Conflict:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = catalog.get("key", "p", "a")
    assert got is not None and [got.body["winner"]] == won and got.version == 2


def test_objects_of_other_kinds_and_projects_are_not_seen(catalog: Catalog) -> None:
    catalog.put("schema", "p", "a", {})
    assert catalog.get("schema", "q", "a") is None
    assert catalog.get("metric", "p", "a") is None
    assert catalog.versions("schema", "q", "a") == []


def test_list_is_by_name_and_pages_after_a_name(catalog: Catalog) -> None:
    for name in ("c", "a", "B", "d'; drop table objects; --"):
        catalog.put("schema", "p", name, {"name": name})
    assert [s.name for s in catalog.list("schema", "p")] == ["B", "a", "c", "d'; drop table objects; --"]
    assert [s.name for s in catalog.list("schema", "p", after="B", limit=2)] == ["a", "c"]


def test_every_gives_all_pages(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        catalog.put("schema", "p", f"n{n}", {})
    whole = catalog.list
    monkeypatch.setattr(catalog, "list", lambda *a, after="": whole(*a, after=after, limit=2))
    assert [s.name for s in every(catalog, "schema", "p")] == ["n0", "n1", "n2", "n3", "n4"]


def test_each_change_of_objects_raises_the_revision_by_one_and_counts_do_not(catalog: Catalog) -> None:
    catalog.put("schema", "p", "a", {})
    catalog.put("schema", "p", "a", {})
    catalog.delete("schema", "p", "a")
    assert catalog.revision() == 3
    catalog.delete("schema", "p", "a")
    catalog.add_refused("p", {(1, "web"): 2})
    catalog.add_trimmed("p", SegmentCounts(b"x" * 16, 1, 9, {(1, "web"): 9}))
    catalog.remember("p", "POST /keys", "k", "{}")
    assert catalog.revision() == 3


def test_an_idempotency_key_gives_the_first_answer_again(catalog: Catalog) -> None:
    assert catalog.recall("p", "POST /keys", "k") is None
    assert catalog.remember("p", "POST /keys", "k", "first") is None
    assert catalog.recall("p", "POST /keys", "k") == "first"
    assert catalog.remember("p", "POST /keys", "k", "second") == "first"
    assert catalog.remember("q", "POST /keys", "k", "other project") is None
    assert catalog.remember("p", "POST /schemas", "k", "other scope") is None


def test_a_segment_trimmed_twice_counts_once(catalog: Catalog) -> None:
    one = SegmentCounts(b"a" * 16, 1, 10, {(7, "web"): 6, (8, "(unknown)"): 4})
    same_segment_of_another_log = SegmentCounts(b"b" * 16, 1, 5, {(7, "web"): 5})
    for counts in (one, same_segment_of_another_log, one):
        catalog.add_trimmed("p", counts)
    assert sorted(catalog.trimmed("p"), key=lambda c: c.log_id) == [one, same_segment_of_another_log]
    assert list(catalog.trimmed("q")) == []


def test_refused_counts_add_up_by_minute_and_source(catalog: Catalog) -> None:
    catalog.add_refused("p", {(1, "web"): 2, (2, "app"): 1})
    catalog.add_refused("p", {(1, "web"): 3})
    catalog.add_refused("q", {(1, "web"): 9})
    assert catalog.refused("p", 1, 2) == {(1, "web"): 5}
    assert catalog.refused("p", 0, 9) == {(1, "web"): 5, (2, "app"): 1}


def test_names_and_bodies_have_limits(catalog: Catalog) -> None:
    with pytest.raises(BadInput, match="at most 512 printable characters, got 513"):
        catalog.put("schema", "p", "x" * 513, {})
    with pytest.raises(BadInput):
        catalog.put("schema", "p", "a\nb", {})
    with pytest.raises(TooLarge) as caught:
        catalog.put("schema", "p", "a", {"x": "y" * 1_048_576})
    assert caught.value.code == "OBJECT_TOO_LARGE"
    assert catalog.revision() == 0


def test_everything_is_there_after_a_reopen(url: str, opened: Callable[[str], Catalog]) -> None:
    first = opened(url)
    first.put("schema", "p", "a", {"n": 1})
    first.add_refused("p", {(1, "web"): 2})
    first.close()
    again = opened(url)
    got = again.get("schema", "p", "a")
    assert got is not None and got.body == {"n": 1}
    assert again.revision() == 1
    assert again.refused("p", 0, 9) == {(1, "web"): 2}


def test_a_closed_catalog_says_so(catalog: Catalog) -> None:
    catalog.revision()
    catalog.close()
    catalog.close()
    for call in (catalog.revision, lambda: catalog.put("schema", "p", "a", {})):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.code == "CATALOG_CLOSED"


def test_two_processes_see_each_others_revision_and_objects(url: str, catalog: Catalog) -> None:
    other = run(
        "for line in sys.stdin:\n    say(f\"{catalog.revision()} {catalog.get('key','p','a').body['n']}\")", url
    )
    assert other.stdin is not None
    for n in (1, 2):
        catalog.put("key", "p", "a", {"n": n})
        other.stdin.write("look\n")
        other.stdin.flush()
        assert line_of(other) == f"{n} {n}"
    finish(other)
    finish(run("catalog.put('key', 'p', 'b', {})", url))
    assert catalog.revision() == 3
    assert catalog.get("key", "p", "b") is not None


def test_writers_in_several_processes_lose_no_change(url: str, catalog: Catalog) -> None:
    script = "who = sys.stdin.readline().strip()\nfor n in range(15): catalog.put('key', 'p', f'{who}-{n}', {})"
    others = [run(script, url) for _ in range(3)]
    for n, other in enumerate(others):
        assert other.stdin is not None
        other.stdin.write(f"w{n}\n")
        other.stdin.flush()
    for other in others:
        finish(other)
        assert other.returncode == 0
    assert catalog.revision() == 45
    assert len(catalog.list("key", "p")) == 45


def test_processes_that_start_together_make_one_catalog(url: str, opened: Callable[[str], Catalog]) -> None:
    others = [run(f"catalog.put('key', 'p', '{n}', {{}}); say('done')", url) for n in range(5)]
    assert [finish(other).strip() for other in others] == ["done"] * 5
    assert opened(url).revision() == 5


def test_kill_9_in_the_middle_of_writes_loses_nothing_that_returned(url: str, opened: Callable[[str], Catalog]) -> None:
    script = (
        "start = len(catalog.list('key', 'p'))\n"
        "for n in range(start, 10**6): catalog.put('key', 'p', f'{n:07d}', {'n': n}); say(n)"
    )
    acknowledged = -1
    for kills in range(4):
        writer = run(script, url)
        for _ in range(5 + 3 * kills):
            acknowledged = int(line_of(writer))
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, finish(writer).split())])
    catalog = opened(url)
    stored = catalog.list("key", "p")
    assert len(stored) in (acknowledged + 1, acknowledged + 2)  # the last may have been written and not yet said
    assert [s.body["n"] for s in stored] == list(range(len(stored)))
    assert catalog.revision() == len(stored)


def queued(
    catalog: Catalog, kind: str = "replay", *, project: str = "p", key: str | None = None, **args: int
) -> JobRow:
    row, _ = catalog.jobs.enqueue(project, kind, "lane", args, attempts_max=3, queued_max=1000, dedup_key=key)
    return row


def claimed(catalog: Catalog, kind: str = "replay", worker: str = "w1") -> JobRow:
    row = catalog.jobs.claim([kind], worker)
    assert row is not None
    return row


def taken_over(catalog: Catalog, kind: str = "replay", worker: str = "w2") -> JobRow:
    (lease,) = catalog.jobs.leases([kind])
    row = catalog.jobs.take_over(lease, worker)
    assert row is not None
    return row


def pulse(row: JobRow, done: float = 0) -> Pulse:
    return Pulse(row.id, row.attempt, Progress(done))


def test_jobs_are_claimed_in_order_of_arrival_each_once_and_only_of_the_kinds_asked_for(catalog: Catalog) -> None:
    first, second, other = queued(catalog, n=1), queued(catalog, n=2), queued(catalog, "export")
    assert sorted(catalog.jobs.waiting(["replay", "export", "none"])) == ["export", "replay"]
    got = claimed(catalog)
    assert (got.id, got.args, got.state, got.attempt, got.worker) == (first.id, {"n": 1}, "running", 1, "w1")
    assert got.started_us is not None and got.started_us >= got.created_us
    assert claimed(catalog).id == second.id
    assert catalog.jobs.claim(["replay"], "w1") is None and catalog.jobs.claim([], "w1") is None
    assert claimed(catalog, "export").id == other.id


def test_a_key_gives_the_unfinished_job_again_until_that_is_finished(catalog: Catalog) -> None:
    first = queued(catalog, key="group-1")
    assert queued(catalog, key="group-1").id == first.id
    assert queued(catalog, "export", key="group-1").id != first.id, "another kind"
    assert queued(catalog, project="q", key="group-1").id != first.id, "another project"
    row = claimed(catalog)
    assert queued(catalog, key="group-1").id == first.id
    assert catalog.jobs.finish(row.id, row.attempt, "succeeded", Progress(1))
    assert queued(catalog, key="group-1").id != first.id


def test_too_many_waiting_jobs_of_a_project_are_refused(catalog: Catalog) -> None:
    for _ in range(2):
        catalog.jobs.enqueue("p", "replay", "lane", {}, attempts_max=3, queued_max=2)
    with pytest.raises(Overloaded, match="2 jobs of project 'p' are waiting, the limit is 2") as caught:
        catalog.jobs.enqueue("p", "replay", "lane", {}, attempts_max=3, queued_max=2)
    assert caught.value.code == "TOO_MANY_JOBS"
    assert catalog.jobs.enqueue("q", "replay", "lane", {}, attempts_max=3, queued_max=2)[1]
    claimed(catalog)
    assert catalog.jobs.enqueue("p", "replay", "lane", {}, attempts_max=3, queued_max=2)[1], "a running one waits not"


def test_checkpoint_and_progress_are_kept_and_given_to_the_next_attempt(catalog: Catalog) -> None:
    queued(catalog)
    row = claimed(catalog)
    assert row.checkpoint is None
    progress = Progress(2, 5, "days", "monday")
    assert catalog.jobs.save(Pulse(row.id, row.attempt, progress), {"day": 2}) == "held"
    assert catalog.jobs.release(row.id, row.attempt)
    again = claimed(catalog, worker="w2")
    assert (again.id, again.attempt, again.checkpoint, again.progress) == (row.id, 2, {"day": 2}, progress)
    assert again.failures == 0 and again.started_us == row.started_us


def test_a_lease_that_moved_on_is_not_taken_over(catalog: Catalog) -> None:
    queued(catalog)
    row = claimed(catalog)
    (seen,) = catalog.jobs.leases(["replay"])
    assert catalog.jobs.renew([pulse(row)]) == ["held"]
    assert catalog.jobs.take_over(seen, "w2") is None
    (seen,) = catalog.jobs.leases(["replay"])
    assert catalog.jobs.save(pulse(row), {}) == "held"
    assert catalog.jobs.take_over(seen, "w2") is None
    assert catalog.jobs.leases(["export"]) == []


def test_after_a_take_over_the_old_attempt_can_write_nothing(catalog: Catalog) -> None:
    queued(catalog)
    old = claimed(catalog)
    catalog.jobs.save(pulse(old, 1), {"day": 1})
    new = taken_over(catalog)
    assert (new.state, new.attempt, new.worker, new.checkpoint) == ("running", 2, "w2", {"day": 1})
    assert catalog.jobs.save(pulse(old, 9), {"day": 9}) == "lost"
    assert catalog.jobs.renew([pulse(old, 9), pulse(new, 2)]) == ["lost", "held"]
    assert not catalog.jobs.finish(old.id, old.attempt, "succeeded", Progress(9))
    assert not catalog.jobs.release(old.id, old.attempt)
    assert catalog.jobs.retry(old.id, old.attempt, JobError("X", "x"), 0) is None
    now = catalog.jobs.get("p", old.id)
    assert (now.state, now.checkpoint, now.progress.done, now.error) == ("running", {"day": 1}, 2, None)


def test_of_many_watchers_one_takes_over(catalog: Catalog) -> None:
    queued(catalog)
    claimed(catalog)
    (seen,) = catalog.jobs.leases(["replay"])
    won = []
    start = threading.Barrier(8)

    def take(n: int) -> None:
        start.wait()
        if catalog.jobs.take_over(seen, f"w{n}") is not None:
            won.append(f"w{n}")

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = catalog.jobs.list("p", limit=10)
    assert [job.worker] == won and job.attempt == 2


def test_workers_that_die_before_anything_new_is_saved_use_up_the_attempts(catalog: Catalog) -> None:
    queued(catalog)
    claimed(catalog)
    assert [taken_over(catalog).failures for _ in range(2)] == [1, 2]
    ended = taken_over(catalog)
    assert (ended.state, ended.failures) == ("failed", 2)
    assert ended.error is not None and ended.error.code == "JOB_WORKER_DIED"


def test_workers_that_die_after_something_new_was_saved_do_not(catalog: Catalog) -> None:
    queued(catalog)
    row = claimed(catalog)
    for day in range(10):
        catalog.jobs.save(pulse(row), {"day": day})
        row = taken_over(catalog)
        assert (row.state, row.failures) == ("running", 0)
    for failures in (1, 2):
        catalog.jobs.save(pulse(row), {"day": 9})
        row = taken_over(catalog)
        assert row.failures == failures, "what was saved was nothing new"


def test_a_failure_is_tried_again_after_the_delay_and_not_more_often_than_allowed(catalog: Catalog) -> None:
    queued(catalog)
    error = JobError("DISK_FULL", "no room")
    for n in (1, 2):
        row = claimed(catalog)
        after = catalog.jobs.retry(row.id, row.attempt, error, 0)
        assert after is not None and (after.state, after.failures, after.error) == ("queued", n, error)
    row = claimed(catalog)
    last = catalog.jobs.retry(row.id, row.attempt, error, 0)
    assert last is not None and (last.state, last.failures, last.attempt) == ("failed", 3, 3)
    assert last.finished_us is not None


def test_a_retry_waits_for_its_time(catalog: Catalog) -> None:
    queued(catalog)
    row = claimed(catalog)
    after = catalog.jobs.retry(row.id, row.attempt, JobError("X", "x"), 60)
    assert after is not None
    assert 55e6 < after.due_us - catalog.jobs.now_us() < 61e6
    assert catalog.jobs.waiting(["replay"]) == [] and catalog.jobs.claim(["replay"], "w") is None


def test_a_job_that_succeeds_at_last_has_a_result_and_no_error(catalog: Catalog) -> None:
    queued(catalog)
    row = claimed(catalog)
    catalog.jobs.retry(row.id, row.attempt, JobError("X", "x"), 0)
    row = claimed(catalog)
    assert catalog.jobs.finish(row.id, row.attempt, "succeeded", Progress(3, 3), result={"rows": 3})
    done = catalog.jobs.get("p", row.id)
    assert (done.state, done.result, done.error, done.progress) == ("succeeded", {"rows": 3}, None, Progress(3, 3))
    assert done.finished_us is not None and done.finished_us >= (done.started_us or 0)
    assert not catalog.jobs.finish(row.id, row.attempt, "failed", Progress()), "it is finished"


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_told(catalog: Catalog) -> None:
    waiting = queued(catalog)
    assert catalog.jobs.cancel("p", waiting.id).state == "cancelled"
    queued(catalog)
    row = claimed(catalog)
    assert [catalog.jobs.cancel("p", row.id).state for _ in range(2)] == ["running", "running"]
    assert catalog.jobs.renew([pulse(row)]) == ["cancel"]
    assert catalog.jobs.save(pulse(row), {"day": 1}) == "cancel"
    assert catalog.jobs.get("p", row.id).checkpoint == {"day": 1}
    assert catalog.jobs.finish(row.id, row.attempt, "cancelled", Progress(1))
    with pytest.raises(Conflict) as caught:
        catalog.jobs.cancel("p", row.id)
    assert caught.value.code == "JOB_FINISHED"


def test_a_cancelled_job_is_not_run_again_when_its_worker_dies_or_fails(catalog: Catalog) -> None:
    queued(catalog)
    row = claimed(catalog)
    catalog.jobs.cancel("p", row.id)
    assert taken_over(catalog).state == "cancelled"
    queued(catalog)
    row = claimed(catalog)
    catalog.jobs.cancel("p", row.id)
    failed = catalog.jobs.retry(row.id, row.attempt, JobError("X", "x"), 0)
    assert failed is not None and failed.state == "cancelled"


def test_jobs_of_other_projects_are_not_seen(catalog: Catalog) -> None:
    row = queued(catalog, project="q")
    for call in (lambda: catalog.jobs.get("p", row.id), lambda: catalog.jobs.cancel("p", row.id)):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.code == "JOB_NOT_FOUND"
    assert catalog.jobs.list("p", limit=10) == []


def test_jobs_are_listed_newest_first_by_state_and_kind_in_pages(catalog: Catalog) -> None:
    ids = [queued(catalog, n=n).id for n in range(5)]
    export = queued(catalog, "export")
    claimed(catalog)
    page = catalog.jobs.list("p", limit=2)
    assert [row.id for row in page] == [export.id, ids[4]]
    assert [row.id for row in catalog.jobs.list("p", before=page[-1].n, limit=9)] == ids[3::-1]
    assert [row.id for row in catalog.jobs.list("p", state="running", limit=9)] == ids[:1]
    assert [row.id for row in catalog.jobs.list("p", state="queued", kind="replay", limit=9)] == ids[:0:-1]
    found = {(count.kind, count.state): count.n for count in catalog.jobs.counts()}
    assert found == {("replay", "queued"): 4, ("replay", "running"): 1, ("export", "queued"): 1}


def test_history_is_bounded_by_number_and_age_and_what_is_not_finished_stays(catalog: Catalog) -> None:
    for n in range(4):
        queued(catalog, n=n)
        row = claimed(catalog)
        catalog.jobs.finish(row.id, row.attempt, "failed", Progress(), error=JobError("X", "x"))
    waiting = queued(catalog)
    failed, last = catalog.jobs.failed_since(60)
    assert failed == 4 and last is not None and last.args == {"n": 3}
    assert catalog.jobs.forget(3600, 2) == 2
    assert [row.args.get("n") for row in catalog.jobs.list("p", limit=9)] == [None, 3, 2]
    assert catalog.jobs.forget(-1, 1000) == 2
    assert [row.id for row in catalog.jobs.list("p", limit=9)] == [waiting.id]
    assert catalog.jobs.failed_since(60) == (0, None)


def test_documents_of_jobs_have_a_limit(catalog: Catalog) -> None:
    large = {"x": "y" * 65_536}
    with pytest.raises(TooLarge, match="arguments of replay: 65544 bytes, at most 65536"):
        catalog.jobs.enqueue("p", "replay", "lane", large, attempts_max=3, queued_max=9)
    queued(catalog)
    row = claimed(catalog)
    with pytest.raises(TooLarge):
        catalog.jobs.save(pulse(row), large)
    with pytest.raises(TooLarge):
        catalog.jobs.finish(row.id, row.attempt, "succeeded", Progress(), result=large)
    assert catalog.jobs.get("p", row.id).state == "running"


def test_jobs_change_no_revision_and_outlive_the_process(url: str, opened: Callable[[str], Catalog]) -> None:
    first = opened(url)
    row = queued(first, n=1)
    claimed(first)
    first.jobs.save(Pulse(row.id, 1, Progress()), {"a": 1})
    assert first.revision() == 0
    first.close()
    again = opened(url)
    assert taken_over(again).checkpoint == {"a": 1}


def test_workers_in_several_processes_claim_each_job_once(url: str, catalog: Catalog) -> None:
    for n in range(60):
        queued(catalog, n=n)
    script = "sys.stdin.readline()\nwhile (row := catalog.jobs.claim(['replay'], 'w')) is not None: say(row.args['n'])"
    others = [run(script, url) for _ in range(3)]
    for other in others:
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
    got = [int(n) for other in others for n in finish(other).split()]
    assert sorted(got) == list(range(60))


def scheduled(next_us: int, cron: str = "0 3 * * *") -> Schedule:
    return Schedule("p", "nightly", "compact", "care", {"deep": True}, 3, cron, "Europe/Berlin", next_us)


def test_a_schedule_keeps_its_time_unless_its_line_changes(catalog: Catalog) -> None:
    catalog.schedules.put(scheduled(1000))
    catalog.schedules.put(scheduled(9000))
    assert [each.next_us for each in catalog.schedules.list()] == [1000]
    catalog.schedules.put(scheduled(9000, cron="0 4 * * *"))
    assert list(catalog.schedules.list("p")) == [scheduled(9000, cron="0 4 * * *")]
    assert catalog.schedules.list("q") == []
    assert catalog.schedules.remove("p", "nightly") and not catalog.schedules.remove("p", "nightly")


def test_a_due_schedule_makes_one_job_however_many_fire_it(catalog: Catalog) -> None:
    catalog.schedules.put(scheduled(catalog.jobs.now_us() + 60_000_000))
    assert catalog.schedules.due()[1] == []
    catalog.schedules.put(scheduled(5, cron="0 5 * * *"))
    now, (due,) = catalog.schedules.due()
    made = catalog.schedules.fire(due, now + 60_000_000)
    assert made is not None and (made.kind, made.args, made.state) == ("compact", {"deep": True}, "queued")
    assert catalog.schedules.fire(due, now + 60_000_000) is None
    assert catalog.schedules.due()[1] == [] and len(catalog.jobs.list("p", limit=9)) == 1


def test_a_schedule_makes_no_second_job_while_its_first_is_not_finished(catalog: Catalog) -> None:
    catalog.schedules.put(scheduled(5))
    _, (due,) = catalog.schedules.due()
    first = catalog.schedules.fire(due, 6)
    _, (due,) = catalog.schedules.due()
    again = catalog.schedules.fire(due, 7)
    assert first is not None and again is not None and first.id == again.id
    row = claimed(catalog, "compact")
    catalog.jobs.finish(row.id, row.attempt, "succeeded", Progress())
    _, (due,) = catalog.schedules.due()
    third = catalog.schedules.fire(due, 8)
    assert third is not None and third.id != first.id
