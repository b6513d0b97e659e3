"""The warehouse is made again while the service runs, and the process is killed on the way."""

import threading

import pytest
from tests.served import Served

POINTS = ["warehouse.switch.before_rename", "warehouse.switch.after_rename"]


@pytest.mark.slow
@pytest.mark.parametrize("at", POINTS)
def test_killed_in_the_middle_of_the_switch_the_job_is_done_at_the_next_start_and_nothing_is_lost(tmp_path, at):
    events = [{"name": "page_view", "source": "web", "data": {"attributes": {"n": n}}} for n in range(500)]
    served = Served(tmp_path / "data", env={"HEADWATER_CRASH_AT": at, "HEADWATER_JOBS__LEASE_SECONDS": "2"})
    with served:
        served.send(events)
        served.settled()
        status, _, job = served.ask("POST", "/api/v1/warehouse/rebuild", {})
        assert status == 202
        served.wait_for(lambda: served.process.poll() is not None, 30)
        del served.env["HEADWATER_CRASH_AT"]
        served.start()
        done = served.wait_for(lambda: ended(served, job["id"]), 60)
        assert done["state"] == "succeeded" and done["result"]["switched"], done
        served.send(events)
        assert served.settled()["stored"] == 1000
        served.stop()
        assert [each.name for each in (served.project_folder() / "warehouse").glob("*.next-*")] == []
        served.start()
        assert served.count() == 1000
        assert served.cli("doctor", "--deep", "--json")["healthy"]


def ended(served, job_id):
    _, _, job = served.ask("GET", f"/api/v1/jobs/{job_id}")
    return job if job["finishedAt"] else None


@pytest.mark.slow
def test_questions_are_answered_and_events_acknowledged_all_the_while(tmp_path):
    events = [{"name": "page_view", "source": "web"} for _ in range(1000)]
    with Served(tmp_path / "data", env={"HEADWATER_LAKE__SEAL_SECONDS": "1"}) as served:
        for _ in range(60):
            served.send(events)
        stop, answers, refused = threading.Event(), [], []

        def ask():
            while not stop.is_set():
                answers.append(served.count())
                status, _, answer = served.send(events[:50])
                if status != 201:
                    refused.append(answer)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            done = served.cli("lake", "rebuild", "--json")
        finally:
            stop.set()
            asking.join(60)
        assert done["result"]["equal"] and done["result"]["pauseMs"] < 600, done
        assert answers == sorted(answers) and not refused
        assert served.settled()["balanced"]
