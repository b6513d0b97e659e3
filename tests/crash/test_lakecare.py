"""Kill -9 in the middle of the lake's care: the job goes on by itself; every row is there once, a rebuild is equal."""

from pathlib import Path
from typing import Any

import pytest
from tests.served import Served

REQUESTS, EVENTS = 40, 50


def killed_by(site: Served, address: str, asked: dict[str, Any]) -> None:
    assert site.process is not None
    with pytest.raises(OSError):
        # The answer may come before the kill: then the next question is not answered.
        site.ask("POST", address, asked)
        site.process.wait(30)
        site.ask("GET", "/api/v1/lake")
    assert site.process.wait(30) == -9


def ended(site: Served, kind: str) -> dict[str, Any]:
    def newest() -> dict[str, Any] | None:
        found: dict[str, Any] = site.ask("GET", f"/api/v1/jobs?kind={kind}")[2]["items"][0]
        return found if found["finishedAt"] else None

    job: dict[str, Any] = site.wait_for(newest, 30)
    assert job["state"] == "succeeded", job
    return job


@pytest.mark.parametrize(
    "point",
    [
        "lake.compact.before_commit:1",
        "lake.vacuum.after_delete:3",
        pytest.param("lake.compact.before_place:1", marks=pytest.mark.slow),
        pytest.param("lake.compact.after_commit:1", marks=pytest.mark.slow),
    ],
)
def test_care_that_is_killed_goes_on_by_itself(tmp_path: Path, point: str) -> None:
    env = {"HEADWATER_CRASH_AT": point, "HEADWATER_LAKE__SEAL_EVENTS": str(EVENTS)}
    with Served(tmp_path / "data", env=env) as site:
        for k in range(REQUESTS):
            events = [{"name": f"n{i % 3}", "data": {"attributes": {"n": k * EVENTS + i}}} for i in range(EVENTS)]
            assert site.send(events)[0] == 201
        site.settled()
        site.wait_for(lambda: site.ask("GET", "/api/v1/lake")[2]["rows"] == REQUESTS * EVENTS)
        if "compact" in point:
            killed_by(site, "/api/v1/lake/compact", {"dryRun": False})
        else:
            assert site.ask("POST", "/api/v1/lake/compact", {"dryRun": False})[0] == 202
            ended(site, "lake-compact")
            killed_by(site, "/api/v1/lake/vacuum", {"dryRun": False, "olderThanDays": 0})
        site.env.pop("HEADWATER_CRASH_AT")
        site.start()
        assert ended(site, "lake-compact" if "compact" in point else "lake-vacuum")["attempts"] == 2
        status, _, dry = site.ask("POST", "/api/v1/lake/compact", {"dryRun": True})
        assert (status, dry["files"]) == (200, 0)
        counted = site.ask("GET", "/api/v1/lake/count?by=name")[2]
        assert counted["files"] <= 2, "one a day"
        assert sorted(counted["items"]) == [["n0", 680], ["n1", 680], ["n2", 640]]
        ledger = site.settled()
        assert ledger["balanced"] and ledger["stored"] == REQUESTS * EVENTS
        assert site.stop() == 0
        rebuilt = site.run_cli("lake", "rebuild", "--check", "--json")
        assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
