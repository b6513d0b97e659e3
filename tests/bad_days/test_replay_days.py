"""Events leave the quarantine while the world goes on, or ends, around them."""

import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.bad_days.days import Load
from tests.served import Served

SCHEMA = {"name": "purchase", "jsonSchema": {"type": "object", "properties": {"price": {"type": "number"}}}}
TO_NUMBER = [{"op": "cast", "field": "attributes.price", "type": "number"}]
QUICK_LEASE = {"HEADWATER_JOBS__LEASE_SECONDS": "2"}
PER_BODY = 1000
PURCHASES = {"filters": [{"field": "name", "operator": "eq", "value": "purchase"}]}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """One server for what leaves no purchase in quarantine."""
    with Served(tmp_path_factory.mktemp("replays") / "data", env=QUICK_LEASE) as running:
        declare(running)
        yield running


def declare(served: Served) -> None:
    for name in ("purchase", "probe"):
        status, _, answer = served.ask("PUT", f"/api/v1/schemas/{name}@1", SCHEMA | {"name": name})
        assert status in (200, 201), answer
    # The collector takes schemas over within half a second.
    served.wait_for(lambda: served.send([purchase("probe")])[2]["quarantined"])


def purchase(name: str = "purchase") -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "name": name, "data": {"attributes": {"price": "12.50"}}}


def break_some(served: Served, events: int) -> int:
    """So many more."""
    for _ in range(0, events, PER_BODY):
        status, _, answer = served.send([purchase() for _ in range(PER_BODY)])
        assert (status, answer["quarantined"]) == (201, PER_BODY), answer
    served.settled(60)
    return events


def left(served: Served) -> int:
    """Purchases in quarantine."""
    groups = served.ask("GET", "/api/v1/quarantine?groupBy=name")[2]["items"]
    return sum(group["count"] for group in groups if group["name"] == "purchase")


def begin(served: Served, patch: Any = TO_NUMBER) -> str:
    body = {"filter": {"name": "purchase"}, "patch": patch, "dryRun": False}
    status, _, answer = served.ask("POST", "/api/v1/quarantine/replay", body)
    assert status == 202, answer
    return answer["jobId"]


def job(served: Served, job_id: str) -> dict[str, Any]:
    return served.ask("GET", f"/api/v1/jobs/{job_id}")[2]


def ended(served: Served, job_id: str, seconds: float = 60) -> dict[str, Any]:
    """The job's result."""

    def over() -> dict[str, Any] | None:
        now = job(served, job_id)
        return now if now["finishedAt"] else None

    done = served.wait_for(over, seconds)
    assert done["state"] == "succeeded", done
    return done["result"]


def balanced(served: Served) -> dict[str, Any]:
    """The totals, once every row and the sum have been seen to balance; each purchase is somewhere, once."""
    totals = served.settled(60)
    assert totals["balanced"], totals
    status, _, ledger = served.ask("GET", "/api/v1/ledger")
    assert status == 200 and all(row["balanced"] for row in ledger["rows"]), ledger
    return totals


def test_a_kill_in_the_middle_of_a_replay_loses_and_doubles_nothing(tmp_path):
    with Served(tmp_path / "data", env=QUICK_LEASE) as served:
        declare(served)
        n = break_some(served, 12_000)
        assert served.stop() == 0
        served.env["HEADWATER_CRASH_AT"] = "replay.before_checkpoint:2"
        served.start()
        job_id = begin(served)
        assert served.process is not None and served.process.wait(60) == -9
        del served.env["HEADWATER_CRASH_AT"]
        served.start()
        result = ended(served, job_id)
        assert (result["selected"], result["stored"], result["stillBad"]) == (n, n, [])
        assert job(served, job_id)["attempts"] == 2
        assert balanced(served)["duplicate"] == 0
        assert (served.count(**PURCHASES), left(served)) == (n, 0)
        ids = served.stored_ids()
        assert len(set(ids)) == len(ids)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_any_moment_of_a_replay_lose_and_double_nothing(tmp_path, record_property):
    chance = random.Random(7)
    with Served(tmp_path / "data", env=QUICK_LEASE) as served:
        declare(served)
        n = break_some(served, 100_000)
        job_id = begin(served)
        for _ in range(10):
            threading.Event().wait(chance.uniform(0.1, 1.5))
            served.kill()
            served.start()
        result = ended(served, job_id, 120)
        assert result["stillBad"] == []
        assert balanced(served)["duplicate"] == 0
        assert (served.count(**PURCHASES), left(served)) == (n, 0)
        ids = served.stored_ids()
        assert len(set(ids)) == len(ids)
    record_property("kills", 10)
    record_property("events", n)


def replay_beside_live_events(served: Served, events: int) -> None:
    before = served.count(**PURCHASES)
    n = break_some(served, events)
    with Load(served, each=100) as live:
        served.wait_for(lambda: len(live.acknowledged) > 500, 30)
        result = ended(served, begin(served), 600)
        sent = len(live.acknowledged)
        served.wait_for(lambda: len(live.acknowledged) > sent, 30)
    assert (result["stored"], result["duplicate"]) == (n, 0)
    assert balanced(served)["duplicate"] == 0
    assert (served.count(**PURCHASES) - before, left(served)) == (n, 0)


def test_twenty_thousand_are_replayed_while_events_come_in(service):
    replay_beside_live_events(service, 20_000)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_are_replayed_while_events_come_in(service):
    replay_beside_live_events(service, 1_000_000)
    assert service.resident_bytes(peak=True) < 1200 << 20


def test_two_people_replay_the_same_group_and_each_event_is_stored_once(service):
    before = service.count(**PURCHASES)
    n = break_some(service, 3000)
    with ThreadPoolExecutor(2) as people:
        jobs = list(people.map(lambda _: begin(service), range(2)))
        results = list(people.map(lambda job_id: ended(service, job_id), jobs))
    assert sum(each["stored"] for each in results) == n
    assert balanced(service)["duplicate"] == 0
    assert (service.count(**PURCHASES) - before, left(service)) == (n, 0)


def test_a_patch_that_makes_more_failures_changes_nothing(service):
    stored = service.count(**PURCHASES)
    n = break_some(service, 1000)
    before = service.ask("GET", "/api/v1/quarantine?limit=1000")[2]
    for patch, code in (
        ([{"op": "set", "field": "attributes.price", "value": "x"}], "TYPE_MISMATCH"),
        ([{"op": "set", "field": "timestamp", "value": 5}], "INVALID_TIMESTAMP"),
        ([{"op": "cast", "field": "attributes.price", "type": "boolean"}], "PATCH_FAILED"),
        ([{"op": "cast", "field": "attributes.pirce", "type": "number"}], "TYPE_MISMATCH"),
    ):
        result = ended(service, begin(service, patch))
        assert [(each["code"], each["count"]) for each in result["stillBad"]] == [(code, n)], patch
        assert result["replayed"] == 0
    assert service.ask("GET", "/api/v1/quarantine?limit=1000")[2] == before
    balanced(service)
    assert (service.count(**PURCHASES), left(service)) == (stored, n)
    assert ended(service, begin(service))["stored"] == n


def test_a_cancelled_replay_keeps_what_it_did(service):
    before = service.count(**PURCHASES)
    n = break_some(service, 20_000)
    job_id = begin(service)
    status, _, answer = service.ask("DELETE", f"/api/v1/jobs/{job_id}")
    assert status in (202, 409), answer
    service.wait_for(lambda: job(service, job_id)["finishedAt"], 30)
    balanced(service)
    assert service.count(**PURCHASES) - before + left(service) == n
    ended(service, begin(service))
    balanced(service)
    assert (service.count(**PURCHASES) - before, left(service)) == (n, 0)


def test_what_is_over_the_quota_is_suppressed_and_can_not_be_replayed(tmp_path):
    env = {"HEADWATER_COLLECT__QUARANTINE_EVENTS_PER_DAY": "150"}
    with Served(tmp_path / "data", env=env) as served:
        declare(served)
        served.send([purchase() for _ in range(200)])
        totals = served.settled()
        n = left(served)
        assert (totals["quarantined"], totals["suppressed"]) == (150, 200 - n) and n < 150
        result = ended(served, begin(served))
        assert (result["selected"], result["stored"]) == (n, n)
        assert balanced(served)["suppressed"] == totals["suppressed"]
        assert served.health()["status"] == "ok"


def test_a_core_without_the_collector_tries_dry_and_says_who_could_replay(tmp_path):
    with Served(tmp_path / "data") as served:
        declare(served)
        n = served.settled()["quarantined"]
        assert served.stop() == 0
        served.start("--role", "process,api")
        body: dict[str, Any] = {"filter": {}, "patch": TO_NUMBER}
        status, _, dry = served.ask("POST", "/api/v1/quarantine/replay", body)
        assert (status, dry["wouldStore"]) == (200, n)
        status, _, answer = served.ask("POST", "/api/v1/quarantine/replay", {**body, "dryRun": False})
        assert (status, answer["code"]) == (404, "OTHER_ROLE")
        assert "--role all" in answer["hint"]
