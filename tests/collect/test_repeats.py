"""A body that comes again is told as such to its sender, and goes to the log all the same."""

import json
import uuid
from typing import Any

from headwater.collect.repeats import REQUESTS_MAX, Repeats, mark_of

NAMED = [{"name": "a", "id": str(uuid.UUID(int=1))}, {"name": "b"}, {"name": "c", "id": str(uuid.UUID(int=3))}]


def test_events_with_ids_of_a_body_that_was_acknowledged_are_told_as_duplicates(collector: Any) -> None:
    one = collector()
    first, again = (one.post(NAMED).json for _ in range(2))
    assert (first["accepted"], first["duplicate"], first["results"]) == (3, 0, [])
    assert (again["accepted"], again["duplicate"], again["quarantined"]) == (1, 2, 0)
    assert again["results"] == [{"index": index, "id": NAMED[index]["id"], "status": "duplicate"} for index in (0, 2)]
    assert [batch.n for batch in one.batches()] == [3, 3]


def test_with_an_idempotency_key_all_are_known_by_the_ids_they_were_given(collector: Any) -> None:
    one = collector()
    body = json.dumps(NAMED[1])
    answers = [one.post(body, idempotency_key=key).json for key in ("k", "k", "other")]
    assert [answer["duplicate"] for answer in answers] == [0, 1, 0]
    (told,) = answers[1]["results"]
    assert uuid.UUID(told["id"]).version == 5


def test_what_was_not_acknowledged_or_is_another_s_is_not_known(collector: Any) -> None:
    one = collector()
    assert one.post(NAMED, query="?ack=buffered").json["duplicate"] == 0
    assert one.post(NAMED).json["duplicate"] == 0
    assert one.post(list(reversed(NAMED))).json["duplicate"] == 0
    assert [one.post(NAMED, key="in").json["duplicate"] for _ in range(2)] == [0, 0]
    assert one.post([{"name": "b"}]).json["duplicate"] == one.post([{"name": "b"}]).json["duplicate"] == 0


def test_a_body_in_which_an_event_was_refused_is_judged_anew_and_not_known(collector: Any) -> None:
    one = collector()
    answers = [one.post([*NAMED, {"name": 5}]).json for _ in range(2)]
    assert [(answer["duplicate"], answer["quarantined"]) for answer in answers] == [(0, 1), (0, 1)]


def test_warned_events_are_told_as_both(collector: Any) -> None:
    one = collector()
    again = [one.post([{**NAMED[0], "colour": 1}, NAMED[2]]).json for _ in range(2)][1]
    assert [(each["index"], each["status"]) for each in again["results"]] == [
        (0, "warning"),
        (0, "duplicate"),
        (1, "duplicate"),
    ]
    assert again["duplicate"] == 2


def test_only_the_last_requests_are_held() -> None:
    repeats = Repeats()
    for mark in range(10 * REQUESTS_MAX):
        repeats.add(mark)
        assert mark in repeats and max(0, mark - REQUESTS_MAX + 1) in repeats
    assert 7 * REQUESTS_MAX not in repeats
    assert (
        len({mark_of(*who, b"[]") for who in (("p", "k", None), ("q", "k", None), ("p", "l", None), ("p", "k", "i"))})
        == 4
    )
