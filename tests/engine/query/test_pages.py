import base64
import json
import uuid
from typing import Any

import msgspec
import pytest

from headwater.domain.errors import BadInput
from headwater.domain.plans import EventsPage, QuarantineGroups, QuarantinePage
from headwater.engine.query import pages

SECOND = 1_000_000


def cursor_of(position: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")


def wire(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def listed(lab: Any, *parameters: tuple[str, str]) -> dict[str, Any]:
    plan = pages.parse_events_parameters(parameters, now_us=100 * SECOND)
    return wire(pages.events_page(plan, lab.run(plan)))


def test_an_event_comes_back_as_it_was_sent(lab: Any) -> None:
    batch = lab.add_batch(1, 9, source_ip="1.1.1.1", user_agent="A")
    attributes = '{"a": 1.50, "ä": [null, {"b": "x"}], "big": 123456789012345678}'
    event_id = uuid.uuid4()
    event = {
        "seq": 1,
        "id": event_id,
        "occurred_us": SECOND,
        "actor": "ann",
        "session_id": "s",
        "client_batch_id": "cb",
        "attributes": attributes,
    }
    for sealed in (False, True):
        lab.add([event | {"seq": 1 + sealed}], sealed)
    hot, old = reversed(listed(lab)["items"])
    assert hot == {
        "id": str(event_id),
        "type": "CUSTOM_EVENT",
        "name": "n",
        "source": "web",
        "actor": "ann",
        "timestamp": "1970-01-01T00:00:01.000000Z",
        "data": {
            "attributes": json.loads(attributes),
            "metadata": {"sourceIp": "1.1.1.1", "userAgent": "A", "sessionId": "s", "batchId": "cb"},
        },
        "version": "1",
        "processingStatus": "PROCESSED",
        "occurredAt": "1970-01-01T00:00:01.000000Z",
        "receivedAt": "1970-01-01T00:00:01.000000Z",
        "batchId": batch,
        "logOffset": 1,
    }
    assert old == hot | {"logOffset": 2}
    by_id = lab.run(pages.parse_event_id(str(event_id)))
    assert [each["logOffset"] for each in wire(pages.events_of(by_id))] == [2, 1]


def test_pages_follow_each_other_without_gap_or_repeat(lab: Any) -> None:
    events = [{"seq": seq, "occurred_us": seq // 4 * SECOND} for seq in range(23)]
    lab.add(events[:11], True)
    lab.add(events[11:], False)
    seen: list[int] = []
    cursor: list[tuple[str, str]] = []
    for _ in range(5):
        page = listed(lab, ("limit", "5"), *cursor)
        seen += [each["logOffset"] for each in page["items"]]
        cursor = [("cursor", page["nextCursor"])]
    assert seen == list(range(22, -1, -1))
    assert page["nextCursor"] is None
    assert len(listed(lab, ("limit", "23"))["items"]) == 23
    assert listed(lab, ("limit", "23"))["nextCursor"] is None


def test_events_are_found_by_name_actor_filter_and_time(lab: Any) -> None:
    rows = [("a", "x", 1), ("b", "x", 2), ("a", None, 3)]
    lab.add(
        [
            {"seq": i, "occurred_us": t * SECOND, "name": n, "actor": a, "attributes": {"t": t}}
            for i, (n, a, t) in enumerate(rows)
        ]
    )

    def found(*parameters: tuple[str, str]) -> list[int]:
        return [each["logOffset"] for each in listed(lab, *parameters)["items"]]

    assert found(("name", "a")) == [2, 0]
    assert found(("actor", "x"), ("name", "a")) == [0]
    assert found(("filter", '{"field": "attributes.t", "operator": "gte", "value": 2}')) == [2, 1]
    assert found(
        ("filter", '[{"field": "actor", "operator": "notExists"}]'),
        ("filter", '{"any": [{"field": "name", "operator": "eq", "value": "a"}]}'),
    ) == [2]
    assert found(("timeRange[start]", "1970-01-01T00:00:02.000000Z")) == [2, 1]
    assert found(("end", "1970-01-01T00:00:02.000000Z")) == [0]
    assert found(("last", "98m")) == [2, 1, 0]
    assert found(("filter", '{"field": "sourceIp", "operator": "exists"}')) == []


def test_quarantine_is_listed_newest_first_with_what_came(lab: Any) -> None:
    event_id = uuid.uuid4()
    lab.quarantine(seq=1, code="A", name="n", event='{"x": 1}', id=event_id)
    lab.quarantine(seq=2, code="B", event="{broken", received_at="1970-01-01 00:00:09")
    lab.quarantine(seq=3, code="A", source="other", event='"text"')

    def found(*parameters: tuple[str, str]) -> dict[str, Any]:
        plan = pages.parse_quarantine_parameters(parameters, now_us=0)
        assert isinstance(plan, QuarantinePage)
        return wire(pages.quarantine_page(plan, lab.run(plan)))

    assert [(each["seq"], each["event"]) for each in found()["items"]] == [(3, "text"), (2, "{broken"), (1, {"x": 1})]
    assert [each["seq"] for each in found(("code", "A"), ("source", "web"))["items"]] == [1]
    assert [each["seq"] for each in found(("timeRange[start]", "1970-01-01T00:00:05.000000Z"))["items"]] == [2]
    first = found(("limit", "2"))
    assert [each["seq"] for each in found(("limit", "2"), ("cursor", first["nextCursor"]))["items"]] == [1]
    for text in ("1", str(event_id)):
        (one,) = wire(pages.quarantined_of(lab.run(pages.parse_quarantine_id(text))))
        assert (one["seq"], one["id"], one["code"], one["receivedAt"]) == (
            1,
            str(event_id),
            "A",
            "1970-01-01T00:00:00.000000Z",
        )


def test_quarantine_groups_count_and_give_an_example(lab: Any) -> None:
    for seq, code, name in ((1, "A", "n"), (2, "A", None), (3, "B", "n"), (4, "A", "n")):
        lab.quarantine(seq=seq, code=code, name=name, received_at=f"1970-01-01 00:00:0{seq}")
    plan = pages.parse_quarantine_parameters([("groupBy", "code,name")], now_us=0)
    assert isinstance(plan, QuarantineGroups)
    groups = wire(pages.quarantine_groups(plan, lab.run(plan)))["items"]
    assert groups[0] == {
        "code": "A",
        "name": "n",
        "count": 2,
        "firstReceivedAt": "1970-01-01T00:00:01.000000Z",
        "lastReceivedAt": "1970-01-01T00:00:04.000000Z",
        "exampleSeq": 4,
        "exampleDetail": "d",
    }
    assert [(each["code"], each["name"], each["count"]) for each in groups[1:]] == [("A", None, 1), ("B", "n", 1)]


@pytest.mark.parametrize(
    ("parameters", "code", "path"),
    [
        ([("nmae", "a")], "UNKNOWN_PARAMETER", "nmae"),
        ([("limit", "0")], "INVALID_LIMIT", "limit"),
        ([("limit", "1001")], "INVALID_LIMIT", "limit"),
        ([("limit", "9" * 5000)], "INVALID_LIMIT", "limit"),
        ([("limit", "ten")], "INVALID_LIMIT", "limit"),
        ([("cursor", "!")], "INVALID_CURSOR", "cursor"),
        ([("cursor", "AAAA")], "INVALID_CURSOR", "cursor"),
        ([("cursor", "")], "INVALID_CURSOR", "cursor"),
        ([("cursor", cursor_of((2**62, 1)))], "INVALID_CURSOR", "cursor"),
        ([("cursor", cursor_of((1, 2**63)))], "INVALID_CURSOR", "cursor"),
        ([("cursor", cursor_of((1, "a")))], "INVALID_CURSOR", "cursor"),
        ([("name", "a"), ("name", "b")], "DUPLICATE_PARAMETER", "name"),
        ([("filter", "{")], "MALFORMED_JSON", "filter"),
        ([("filter", "5")], "TYPE_MISMATCH", "filter[0]"),
        ([("filter", '{"field": "x", "operator": "eq", "value": 1}')], "UNKNOWN_FIELD", "filter[0].field"),
        ([("start", "now")], "INVALID_TIME", "timeRange.start"),
        ([("last", "x")], "INVALID_TIME_RANGE", "timeRange.last"),
        ([("interval", "1h")], "UNKNOWN_PARAMETER", "interval"),
    ],
)
def test_a_wrong_parameter_of_events_is_named(parameters: list[tuple[str, str]], code: str, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        pages.parse_events_parameters(parameters, now_us=0)
    assert (caught.value.code, caught.value.path) == (code, path)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ([("groupBy", "detail")], "UNKNOWN_FIELD"),
        ([("groupBy", "")], "INVALID_VALUE"),
        ([("groupBy", "code"), ("cursor", "A")], "INVALID_VALUE"),
        ([("state", "opne")], "INVALID_VALUE"),
        ([("filter", "{}")], "UNKNOWN_PARAMETER"),
    ],
)
def test_a_wrong_parameter_of_quarantine_is_named(parameters: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        pages.parse_quarantine_parameters(parameters, now_us=0)
    assert caught.value.code == code


@pytest.mark.parametrize("text", ["x", "", "1" * 40, "'; drop table events"])
def test_an_id_that_is_none_is_refused(text: str) -> None:
    for parse in (pages.parse_event_id, pages.parse_quarantine_id):
        with pytest.raises(BadInput) as caught:
            parse(text)
        assert caught.value.code == "INVALID_ID"


@pytest.mark.parametrize(
    "text",
    ["'; drop table events; --", "$1", "\x00", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")],
)
def test_sql_in_a_parameter_is_only_text(lab: Any, text: str) -> None:
    lab.add([{"seq": 1, "occurred_us": SECOND, "name": text, "actor": text}])
    lab.quarantine(seq=1, code="A", name=text, source=text)
    assert len(listed(lab, ("name", text), ("actor", text))["items"]) == 1
    plan = pages.parse_quarantine_parameters([("source", text), ("name", text)], now_us=0)
    assert len(lab.run(plan).rows) == 1


def test_a_page_asks_for_one_row_more_than_it_shows() -> None:
    plan = pages.parse_events_parameters([], now_us=0)
    assert plan == EventsPage(limit=101)
