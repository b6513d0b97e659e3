"""Kill -9 in the middle of a retention: it goes on by itself; nothing goes that should stay, or is counted twice."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from tests.served import Served

OLD, NEW = 300, 100


def events(n: int, first: int, days: int) -> list[dict[str, Any]]:
    at = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    return [
        {"name": "a", "id": f"018f4a7e-0000-7000-8000-{first + i:012x}", "timestamp": at.isoformat()} for i in range(n)
    ]


@pytest.mark.parametrize("step", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_a_retention_that_is_killed_goes_on_by_itself(tmp_path: Path, step: str) -> None:
    with Served(tmp_path / "data", env={"HEADWATER_CRASH_AT": f"warehouse.removal.{step}_commit:1"}) as site:
        old = events(OLD, 0, 30)
        for sent in (old, events(NEW, OLD, 0), [{"name": 7}]):
            assert site.ask("POST", "/api/v1/events", sent)[0] == 201
        site.settled()
        assert site.ask("PUT", "/api/v1/settings", {"retention": "10d"})[0] == 200
        assert site.process is not None
        with pytest.raises(OSError):
            # The answer may come before the kill: then the next question is not answered.
            site.ask("POST", "/api/v1/retention/run", {"dryRun": False})
            site.process.wait(30)
            site.ask("GET", "/api/v1/ledger")
        assert site.process.wait(30) == -9
        site.env.clear()
        site.start()
        job = site.wait_for(lambda: found if (found := newest(site))["finishedAt"] else None, 30)
        assert job["state"] == "succeeded" and job["attempts"] == 2, job
        totals = site.ask("GET", "/api/v1/ledger")[2]["totals"]
        assert totals["balanced"]
        assert (totals["stored"], totals["removed"], totals["quarantined"]) == (NEW, OLD, 1)
        assert len(site.stored_ids()) == NEW
        site.ask("POST", "/api/v1/events", old)
        site.settled()
        totals = site.ask("GET", "/api/v1/ledger")[2]["totals"]
        assert totals["balanced"] and (totals["stored"], totals["removed"]) == (NEW, 2 * OLD)


def newest(site: Served) -> dict[str, Any]:
    found: dict[str, Any] = site.ask("GET", "/api/v1/jobs?kind=retention")[2]["items"][0]
    return found
