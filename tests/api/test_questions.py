"""Questions that are stopped: by somebody, by their caller's going away, by their time."""

import contextlib
import http.client
import json
import threading

import pytest
from tests.served import Served


def matching(number):
    return {"field": "attributes.text", "operator": "matches", "value": f"(a|b|c)+{number}?(ab|bc|ca)*$"}


EVENTS = 60_000
FOREVER = {"start": "1971-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
SLOW = {
    "metrics": [
        {
            "name": f"m{number}",
            "aggregation": "p99",
            "field": "attributes.n",
            "filters": [matching(number + 20 * each) for each in range(20)],
        }
        for number in range(20)
    ],
    "timeRange": FOREVER,
    "dimensions": ["attributes.group"],
    "limit": 5000,
}
"""Some seconds of work: four hundred patterns over every event."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("questions") / "data") as running:
        for first in range(0, EVENTS, 10_000):
            events = [
                {"name": "a", "data": {"attributes": {"n": n, "group": f"g{n % 5000}", "text": "abc" * 20}}}
                for n in range(first, first + 10_000)
            ]
            assert running.send(events)[0] == 201
        running.settled()
        yield running


def asking(served, query_id):
    """A connection on which the slow question has been asked and not been answered yet."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    headers = {"Authorization": f"Bearer {served.keys['sk']}", "Headwater-Query-Id": query_id}
    connection.request("POST", "/api/v1/query", json.dumps(SLOW).encode(), headers)
    served.wait_for(lambda: is_running(served, query_id))
    return connection


def is_running(served, query_id):
    """An id that is taken is refused; asking with it anew tells, and costs nothing."""
    quick = {"metrics": ["events"], "timeRange": {"last": "1m"}}
    status, _, answer = served.ask("POST", "/api/v1/query", quick, headers={"Headwater-Query-Id": query_id})
    return status == 409 and answer["code"] == "ALREADY_EXISTS"


def test_a_question_is_cancelled_by_the_id_its_caller_gave_it(loaded):
    with contextlib.closing(asking(loaded, "slow-1")) as connection:
        assert loaded.ask("DELETE", "/api/v1/queries/slow-1")[0] == 204
        response = connection.getresponse()
        problem = json.loads(response.read())
    assert (response.status, problem["code"]) == (400, "QUERY_CANCELLED")
    loaded.wait_for(lambda: not is_running(loaded, "slow-1"))
    assert loaded.ask("DELETE", "/api/v1/queries/slow-1")[0] == 404


def test_a_question_ends_when_its_connection_drops(loaded):
    asking(loaded, "slow-2").close()
    loaded.wait_for(lambda: not is_running(loaded, "slow-2"), seconds=2)


def test_another_projects_question_can_not_be_cancelled(loaded):
    other = next(
        key["secret"] for key in loaded.cli("project", "create", "other", "--json")["keys"] if key["scopes"][1:]
    )
    loaded.wait_for(lambda: loaded.ask("GET", "/api/v1/settings", key=other)[0] == 200)
    with contextlib.closing(asking(loaded, "slow-3")):
        assert loaded.ask("DELETE", "/api/v1/queries/slow-3", key=other)[0] == 404
        assert loaded.ask("DELETE", "/api/v1/queries/slow-3")[0] == 204


def test_an_answer_carries_the_id_of_its_question(loaded):
    quick = {"metrics": ["events"], "timeRange": FOREVER}
    _, headers, _ = loaded.ask("POST", "/api/v1/query", quick, headers={"Headwater-Query-Id": "quick"})
    assert headers["headwater-query-id"] == "quick"
    _, headers, _ = loaded.ask("GET", "/api/v1/metrics?names=events")
    assert len(headers["headwater-query-id"]) == 36
    status, _, problem = loaded.ask("POST", "/api/v1/query", quick, headers={"Headwater-Query-Id": "x" * 65})
    assert (status, problem["code"]) == (400, "BAD_HEADER")


def test_more_questions_than_run_at_once_wait_and_are_all_answered(loaded):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(loaded.count())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [EVENTS] * 20


def test_a_question_over_its_time_is_ended_and_says_the_limit(tmp_path, loaded):
    assert loaded.stop() == 0
    env = {"HEADWATER_ENGINE__SECONDS_MAX": "0.2"}
    with Served(loaded.data, env=env) as hurried:
        status, _, problem = hurried.ask("POST", "/api/v1/query", SLOW)
        assert (status, problem["code"], problem["limit"]) == (504, "QUERY_TIMEOUT", 0.2)
        (tmp_path / "slow.json").write_text(json.dumps(SLOW))
        done = hurried.run_cli("query", "--body", str(tmp_path / "slow.json"))
        assert (done.returncode, "[QUERY_TIMEOUT]" in done.stderr) == (1, True), done.stderr
        assert hurried.count() == EVENTS
    loaded.start()
