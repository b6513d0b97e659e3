"""Jobs in the whole product: by HTTP and command line, over SIGTERM and kill -9."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.served import Served

from headwater.storage.catalog import open_catalog

LANES = {"steps": "work", "wrong": "work", "durable": "care"}


@contextmanager
def serving(data: Path) -> Iterator[Served]:
    with Served(data, before=[sys.executable, str(Path(__file__).with_name("kinds.py"))]) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("jobs") / "data") as running:
        yield running


def put(site: Served, kind: str, project: str = "default", **args: Any) -> str:
    """As a room of another process would: into the catalog."""
    catalog = open_catalog(f"sqlite://{site.data}/catalog.sqlite")
    row, _ = catalog.jobs.enqueue(project, kind, LANES[kind], args, attempts_max=3, queued_max=1000)
    catalog.close()
    return row.id


def read(site: Served, job_id: str) -> dict[str, Any]:
    status, _, job = site.ask("GET", f"/api/v1/jobs/{job_id}")
    assert status == 200, job
    found: dict[str, Any] = job
    return found


def ended(site: Served, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.wait_for(lambda: job if (job := read(site, job_id))["finishedAt"] else None)
    return found


def test_a_job_is_read_from_its_beginning_to_its_result(site: Served) -> None:
    job_id = put(site, "steps", steps=60)
    job = site.wait_for(lambda: job if (job := read(site, job_id))["progress"]["done"] else None)
    assert (job["state"], job["kind"], job["lane"], job["attempts"]) == ("running", "steps", "work", 1)
    assert job["progress"] | {"done": 0} == {"done": 0, "total": 60, "unit": "steps", "note": "counting"}
    assert job["startedAt"] >= job["createdAt"] and job["finishedAt"] is job["result"] is job["error"] is None
    job = ended(site, job_id)
    assert (job["state"], job["result"]) == ("succeeded", {"began": 0, "attempt": 1})
    assert job["finishedAt"] > job["startedAt"] and job["dueAt"] is None


def test_a_job_gets_at_the_stores_of_its_project(site: Served) -> None:
    site.send([{"name": "a"}])
    site.settled()
    assert ended(site, put(site, "durable"))["result"]["seq"] >= 1


def test_a_job_of_a_project_that_is_gone_fails_and_no_other_project_sees_it(site: Served) -> None:
    job_id = put(site, "durable", project="nobody")
    assert site.ask("GET", f"/api/v1/jobs/{job_id}")[0] == site.ask("DELETE", f"/api/v1/jobs/{job_id}")[0] == 404
    catalog = open_catalog(f"sqlite://{site.data}/catalog.sqlite")
    job = site.wait_for(lambda: job if (job := catalog.jobs.get("nobody", job_id)).finished_us else None)
    catalog.close()
    assert (job.state, job.attempt, job.error.code) == ("failed", 1, "PROJECT_NOT_FOUND")


def test_a_failed_job_tells_why_and_health_and_metrics_know(site: Served) -> None:
    job = ended(site, put(site, "wrong"))
    assert (job["state"], job["error"]) == ("failed", {"code": "BAD_INPUT", "detail": "there is no such thing"})
    site.wait_for(lambda: "JOBS_FAILING" in site.health_codes())
    metrics = site.ask("GET", "/metrics")[2].decode()
    assert 'headwater_jobs_by_state_entries{kind="wrong",state="failed"} 1.0' in metrics
    assert 'headwater_jobs_ended_runs_total{kind="wrong",outcome="failed"} 1.0' in metrics
    assert 'headwater_jobs_run_seconds_count{kind="wrong"} 1.0' in metrics
    assert 'headwater_jobs_running_threads{lane="work"}' in metrics


def test_jobs_are_listed_newest_first_in_pages_by_state_and_kind(site: Served) -> None:
    ids = [put(site, "durable") for _ in range(3)]
    for job_id in ids:
        ended(site, job_id)
    path, got = "/api/v1/jobs?kind=durable&state=succeeded&limit=2", []
    while path:
        status, _, page = site.ask("GET", path)
        assert status == 200 and len(page["items"]) <= 2
        got += [job["id"] for job in page["items"]]
        path = page["nextCursor"] and f"/api/v1/jobs?kind=durable&state=succeeded&limit=2&cursor={page['nextCursor']}"
    assert got[:3] == ids[::-1]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/jobs?state=runing", 400, "BAD_PARAMETER"),
        ("/api/v1/jobs?limit=0", 400, "INVALID_LIMIT"),
        ("/api/v1/jobs?cursor=nonsense", 400, "INVALID_CURSOR"),
        ("/api/v1/jobs?colour=red", 400, "UNKNOWN_PARAMETER"),
        ("/api/v1/jobs/nothing", 404, "JOB_NOT_FOUND"),
    ],
)
def test_wrong_questions_are_told_so(site: Served, path: str, status: int, code: str) -> None:
    found, _, problem = site.ask("GET", path)
    assert (found, problem["code"]) == (status, code)


def test_a_running_job_is_cancelled_and_a_finished_one_can_not_be(site: Served) -> None:
    job_id = put(site, "steps", steps=10_000)
    site.wait_for(lambda: read(site, job_id)["progress"]["done"])
    status, _, job = site.ask("DELETE", f"/api/v1/jobs/{job_id}")
    assert (status, job["cancelAsked"]) == (202, True)
    job = ended(site, job_id)
    assert job["state"] == "cancelled" and 0 < job["progress"]["done"] < 10_000
    status, _, problem = site.ask("DELETE", f"/api/v1/jobs/{job_id}")
    assert (status, problem["code"]) == (409, "JOB_FINISHED")
    status, _, problem = site.ask("DELETE", "/api/v1/jobs/nothing")
    assert (status, problem["code"]) == (404, "JOB_NOT_FOUND")


def test_reading_asks_for_query_and_cancelling_for_manage(site: Served) -> None:
    job_id = put(site, "steps", steps=10_000)
    key = site.ask("POST", "/api/v1/keys", {"name": "reader", "scopes": ["query"]})[2]["secret"]
    assert site.ask("GET", f"/api/v1/jobs/{job_id}", key=key)[0] == 200
    assert site.ask("DELETE", f"/api/v1/jobs/{job_id}", key=key)[0] == 403
    assert site.ask("GET", "/api/v1/jobs", key=None)[0] == 401
    assert site.ask("DELETE", f"/api/v1/jobs/{job_id}")[0] == 202
    ended(site, job_id)


def test_the_command_line_lists_shows_watches_and_cancels(site: Served) -> None:
    job_id = put(site, "steps", steps=40)
    watched = site.run_cli("jobs", "watch", job_id)
    assert watched.returncode == 0, watched.stderr
    assert "succeeded" in watched.stdout and "40 of 40 steps (100 %)" in watched.stdout
    assert any(line.split()[:3] == [job_id, "steps", "succeeded"] for line in site.run_cli("jobs").stdout.splitlines())
    shown = json.loads(site.run_cli("jobs", "show", job_id, "--json").stdout)
    assert shown["result"] == {"began": 0, "attempt": 1}
    long = put(site, "steps", steps=10_000)
    site.wait_for(lambda: read(site, long)["state"] == "running")
    assert "told to stop" in site.run_cli("jobs", "cancel", long).stdout
    watched = site.run_cli("jobs", "watch", long)
    assert watched.returncode == 1 and "cancelled" in watched.stdout
    refused = site.run_cli("jobs", "cancel", long)
    assert refused.returncode != 0 and "[JOB_FINISHED]" in refused.stderr and "Traceback" not in refused.stderr
    assert all(job["state"] == "failed" for job in site.cli("jobs", "list", "--state", "failed", "--json")["items"])


def test_sigterm_gives_a_running_job_back_and_the_next_start_goes_on_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as site:
        job_id = put(site, "steps", steps=80)
        site.wait_for(lambda: read(site, job_id)["progress"]["done"] > 10)
        began = time.monotonic()
        assert site.stop() == 0
        assert time.monotonic() - began < 10
        site.start()
        job = ended(site, job_id)
        assert (job["state"], job["attempts"]) == ("succeeded", 2)
        assert job["result"]["began"] > 10, "it went on where it was"


@pytest.mark.slow
def test_after_kill_9_a_restarted_server_goes_on_within_five_seconds(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as site:
        job_id = put(site, "steps", steps=100_000)
        site.wait_for(lambda: read(site, job_id)["progress"]["done"] > 10)
        site.kill()
        site.start()
        began = time.monotonic()
        site.wait_for(lambda: read(site, job_id)["attempts"] == 2, 6)
        assert time.monotonic() - began <= 5
        done = read(site, job_id)["progress"]["done"]
        site.wait_for(lambda: read(site, job_id)["progress"]["done"] > done)
