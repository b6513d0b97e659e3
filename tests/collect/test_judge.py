"""Verdicts: each kind of bad event gets its code, its path and its value, and takes no other event along."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, Judged, judge, judge_apart, judge_whole
from headwater.collect.validate import Moment, Sender
from headwater.domain import wire
from headwater.domain.batches import Batch, Form
from headwater.domain.errors import BadInput, HeadwaterError, TooLarge
from headwater.domain.events import DAY_US, us_of
from headwater.domain.problems import EVENT_CODES
from headwater.domain.schemas import rules_from

NOW = us_of(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
SERVER = Sender("k", "server", frozenset(), False)
PAGE = Sender("p", "web", frozenset({"web", "shop"}), True)
SMALL = Bounds(batch_events_max=50, event_bytes_max=3000, attributes_max=20, depth_max=10, string_bytes_max=400)


def case(sender: Sender = SERVER, bounds: Bounds = SMALL, schemas: Any = (), **changed: Any) -> Case:
    moment = Moment(NOW, changed.get("sent_us"), changed.get("behind", False))
    return Case(sender, moment, bounds, rules_from(schemas, changed.get("unknown_events", "allow")))


def both(body: bytes, by: Case) -> Judged:
    """The verdict, after making sure that the quick way says the same or leaves it to the other."""
    apart = judge_apart(body, by)
    whole = judge_whole(body, by)
    if whole is not None:
        assert not apart.notes
        assert (whole.n, whole.form, whole.sent_us, dict(whole.sources)) == (
            apart.n,
            apart.form,
            apart.sent_us,
            dict(apart.sources),
        )
    return apart


def told(event: str | bytes, by: Case | None = None) -> tuple[str, str, str]:
    """Code, detail and source of one event that stands between two good ones."""
    text = event if isinstance(event, bytes) else event.encode()
    judged = both(b'[{"name":"a"},' + text + b',{"name":"b"}]', by or case())
    assert judged.n == 3
    (note,) = judged.notes
    assert note.index == 1
    assert note.code in EVENT_CODES
    source = next((v.source for v in judged.verdicts), "")
    return note.code, note.detail, source


UUID_DETAIL = "expected a UUID such as 0192f7a0-4d5e-7abc-8def-0123456789ab, got "
TIME_DETAIL = "expected an RFC 3339 time with a zone, such as 2026-11-24T10:00:00Z, got "


@pytest.mark.parametrize(
    ("event", "code", "detail"),
    [
        ("5", "TYPE_MISMATCH", "$[1]: expected object, got 5"),
        ("null", "TYPE_MISMATCH", "$[1]: expected object, got null"),
        ("{}", "NO_NAME", '$[1]: neither name nor type; the smallest event is {"name": "signup"}'),
        ('{"name":5}', "TYPE_MISMATCH", "$[1].name: expected string, got 5"),
        ('{"name":null}', "TYPE_MISMATCH", "$[1].name: expected string, got null"),
        ('{"name":"a","name":5}', "TYPE_MISMATCH", "$[1].name: expected string, got 5"),
        ('{"name":""}', "EMPTY_STRING", "$[1].name: expected at least 1 character, got ''"),
        (f'{{"name":"{"ä" * 257}"}}', "STRING_TOO_LONG", "$[1].name: expected at most 256 characters, got 257"),
        ('{"name":1e400}', "TYPE_MISMATCH", "$[1].name: expected string, got inf"),
        ('{"name":"a","actor":[]}', "TYPE_MISMATCH", "$[1].actor: expected string, got an array"),
        ('{"name":"a","data":null}', "TYPE_MISMATCH", "$[1].data: expected object, got null"),
        (
            '{"name":"a","data":{"metadata":{"sessionId":1}}}',
            "TYPE_MISMATCH",
            "$[1].data.metadata.sessionId: expected string, got 1",
        ),
        (
            '{"name":"a","data":{"attributes":[1]}}',
            "TYPE_MISMATCH",
            "$[1].data.attributes: expected object, got an array",
        ),
        ('{"name":"a","data":{"attributes":"x"}}', "TYPE_MISMATCH", "$[1].data.attributes: expected object, got 'x'"),
        (
            '{"type":"CLICK"}',
            "INVALID_TYPE",
            "$[1].type: expected one of USER_ACTION, SYSTEM_METRIC, BUSINESS_EVENT, CUSTOM_EVENT, got 'CLICK'",
        ),
        ('{"name":"a","id":"abc"}', "INVALID_ID", f"$[1].id: {UUID_DETAIL}'abc'"),
        ('{"name":"a","id":5}', "INVALID_ID", f"$[1].id: {UUID_DETAIL}5"),
        ('{"name":"a","id":null}', "INVALID_ID", f"$[1].id: {UUID_DETAIL}null"),
        ('{"name":"a","id":""}', "INVALID_ID", f"$[1].id: {UUID_DETAIL}''"),
        ('{"name":"a","id":{}}', "INVALID_ID", f"$[1].id: {UUID_DETAIL}an object"),
        (
            '{"name":"a","timestamp":"2026-11-24T10:00:00"}',
            "INVALID_TIMESTAMP",
            f"$[1].timestamp: {TIME_DETAIL}'2026-11-24T10:00:00'",
        ),
        ('{"name":"a","timestamp":1764000000}', "INVALID_TIMESTAMP", f"$[1].timestamp: {TIME_DETAIL}1764000000"),
        (
            '{"name":"a","timestamp":"2016-12-31T23:59:60Z"}',
            "INVALID_TIMESTAMP",
            f"$[1].timestamp: {TIME_DETAIL}'2016-12-31T23:59:60Z'",
        ),
        (
            '{"name":"a","timestamp":"0000-01-01T00:00:00Z"}',
            "INVALID_TIMESTAMP",
            f"$[1].timestamp: {TIME_DETAIL}'0000-01-01T00:00:00Z'",
        ),
        (
            '{"name":"a","timestamp":"-001-01-01T00:00:00Z"}',
            "INVALID_TIMESTAMP",
            f"$[1].timestamp: {TIME_DETAIL}'-001-01-01T00:00:00Z'",
        ),
        (
            '{"name":"a","timestamp":"0001-01-01T00:00:00+14:00"}',
            "INVALID_TIMESTAMP",
            "$[1].timestamp: 0001-01-01T00:00:00+14:00 is not in the years 1 to 9999 of UTC",
        ),
        (
            '{"name":"a","timestamp":"9999-12-31T23:59:59-14:00"}',
            "INVALID_TIMESTAMP",
            "$[1].timestamp: 9999-12-31T23:59:59-14:00 is not in the years 1 to 9999 of UTC",
        ),
        (
            '{"name":"a","timestamp":"2026-11-25T12:00:01Z"}',
            "TIME_IN_FUTURE",
            "$[1].timestamp: 2026-11-25T12:00:01+00:00 is more than 24 hours after the server's clock",
        ),
        (
            '{"name":"a","data":{"attributes":{"x":NaN}}}',
            "MALFORMED_JSON",
            "$[1]: not JSON: invalid character (byte 38)",
        ),
        ('{"name":"a"', "MALFORMED_JSON", "$[1]: not JSON: input data was truncated"),
        ("", "MALFORMED_JSON", "$[1]: not JSON: input data was truncated"),
        ('{"name":"\\ud800"}', "INVALID_UNICODE", "$[1]: half of a surrogate pair (\\ud800 to \\udfff) in a text"),
        (
            '{"name":"a","data":{"attributes":{"x":"\\udc00\\ud800"}}}',
            "INVALID_UNICODE",
            "$[1]: half of a surrogate pair (\\ud800 to \\udfff) in a text",
        ),
        (b'{"name":"\xff"}', "NOT_UTF8", "$[1]: byte 0xff at 9 is not UTF-8"),
        (b'{"name":"a","data":{"attributes":{"x":"\xc3"}}}', "NOT_UTF8", "$[1]: byte 0xc3 at 39 is not UTF-8"),
        (b'{"name":"a","x":"\xed\xa0\x80"}', "NOT_UTF8", "$[1]: byte 0xed at 17 is not UTF-8"),
        (
            '{"name":"a","data":{"attributes":' + '{"x":' * 9 + "1" + "}" * 9 + "}}",
            "TOO_DEEP",
            "$[1]: nested deeper than 10 levels",
        ),
        ('{"name":"a","x":' + "[" * 5000 + "]" * 5000 + "}", "EVENT_TOO_LARGE", "$[1]: 10017 bytes; at most 3000"),
        (
            '{"name":"a","data":{"attributes":{' + ",".join(f'"k{i}":1' for i in range(21)) + "}}}",
            "TOO_MANY_ATTRIBUTES",
            "$[1].data.attributes: 21 attributes; at most 20",
        ),
        (
            '{"name":"a","data":{"attributes":{"odd key":["' + "x" * 401 + '"]}}}',
            "STRING_TOO_LONG",
            '$[1].data.attributes["odd key"]: 401 bytes; at most 400',
        ),
        ('{"name":"a","colour":1}', "UNKNOWN_FIELD", "$[1].colour: not a field of events"),
        ('{"name":"a","data":{"properties":{}}}', "UNKNOWN_FIELD", "$[1].data.properties: not a field of events"),
    ],
)
def test_a_bad_event_is_told_by_code_path_and_value(event: str | bytes, code: str, detail: str) -> None:
    if code == "MALFORMED_JSON" and "truncated" in detail and event:
        # An open bracket would swallow the rest of an array: cut events come as lines.
        assert isinstance(event, str)
        judged = judge(b'{"name":"a"}\n' + event.encode() + b'\n{"name":"b"}', case())
        assert [(note.code, note.detail) for note in judged.notes] == [(code, detail)]
    else:
        assert told(event)[:2] == (code, detail)


@pytest.mark.parametrize(
    "event",
    [
        '{"name":"a"}',
        '{"type":"USER_ACTION"}',
        '{"name":"a","timestamp":"0001-01-01T00:00:00Z"}',
        '{"name":"a","timestamp":"2026-11-25T12:00:00Z"}',
        '{"name":"a","timestamp":"2026-11-24t10:00:00.123456789+01:00"}',
        '{"name":"a","id":"0192F7A04D5E7ABC8DEF0123456789AB"}',
        '{"name":"a","data":{"attributes":{"x":1e400,"y":123456789012345678901234567890,"x":2}}}',
        '{"name":"\\ud83d\\ude00\\u0000"}',
        '{"name":"a","processingStatus":"RECEIVED"}',
        '{"name":"a","data":{"attributes":{"x":' + "[" * 7 + "]" * 7 + "}}}",
        '{"name":"a","data":{"attributes":{"x":"' + "[{" * 150 + '"}}}',
        '{"name":"a","data":{"attributes":{"x":"' + ":" * 100 + '"}}}',
    ],
)
def test_a_right_event_is_plainly_accepted(event: str) -> None:
    assert both(b'[{"name":"a"},' + event.encode() + b"]", case()).notes == []


def test_right_events_go_the_quick_way_in_every_form() -> None:
    event = {
        "id": "0192f7a0-4d5e-7abc-8def-0123456789ab",
        "name": "a",
        "source": "ä",
        "data": {"attributes": {"x": [1, 2]}},
    }
    text = json.dumps(event)
    for body in (
        f"[{text}]",
        f'{{"events":[{text}]}}',
        text,
        f"{text}\n{text}\n",
        json.dumps([event], indent=2),
        f"\ufeff{text}",
    ):
        assert judge_whole(body.encode(), case()) is not None, body


@pytest.mark.parametrize("form", Form)
def test_a_body_larger_than_an_event_may_be_goes_the_quick_way_too(form: Form) -> None:
    text = json.dumps({"name": "a", "data": {"attributes": {"x": "y" * 300}}})
    body = {
        Form.ARRAY: f"[{','.join([text] * 20)}]",
        Form.ENVELOPE: f'{{"events":[{",".join([text] * 20)}]}}',
        Form.SINGLE: text,
        Form.NDJSON: "\n".join([text] * 20),
    }[form].encode()
    assert judge_whole(body, case()) is not None
    assert judge_whole(body, case(bounds=msgspec.structs.replace(SMALL, event_bytes_max=len(text)))) is not None
    assert judge_whole(body, case(bounds=msgspec.structs.replace(SMALL, event_bytes_max=len(text) - 1))) is None


def test_an_event_of_5000_levels_is_too_deep_and_alone_in_that() -> None:
    deep = '{"name":"a","x":' + "[" * 5000 + "]" * 5000 + "}"
    by = case(bounds=Bounds())
    assert told(deep, by) == ("TOO_DEEP", "$[1]: nested deeper than 100 levels", "(unknown)")


def test_an_attribute_of_5_mb_quarantines_its_event_only() -> None:
    big = '{"name":"a","data":{"attributes":{"x":"' + "y" * 5_000_000 + '"}}}'
    assert told(big, case(bounds=Bounds()))[0] == "EVENT_TOO_LARGE"


@pytest.mark.parametrize(
    ("event", "source"),
    [
        ('{"id":5,"name":"a"}', "server"),
        ('{"id":5,"source":"shop"}', "shop"),
        ('{"name":"a","source":5}', "(unknown)"),
        ('{"name":NaN,"source":"shop"}', "(unknown)"),
        ("5", "(unknown)"),
    ],
)
def test_a_broken_event_counts_under_its_own_source_where_that_can_be_read(event: str, source: str) -> None:
    assert told(event)[2] == source


def test_a_page_may_send_only_its_sources_and_makes_no_new_ones() -> None:
    code, detail, source = told('{"name":"a","source":"evil"}', case(PAGE))
    assert (code, source) == ("SOURCE_NOT_ALLOWED", "(other)")
    assert detail == "$[1].source: this key may send 'shop', 'web', got 'evil'"
    assert told('{"id":1,"source":"evil"}', case(PAGE))[2] == "(other)"
    assert told('{"id":1,"source":"evil"}', case(PAGE)._replace(is_label={"evil"}.__contains__))[2] == "evil"


def test_a_page_may_not_send_the_distant_past() -> None:
    old = '{"name":"a","timestamp":"2026-10-25T11:59:59Z"}'
    assert told(old, case(PAGE))[0] == "TIME_TOO_OLD"
    assert not both(f"[{old}]".encode(), case(SERVER)).notes
    assert not both(b'[{"name":"a","timestamp":"2026-10-25T12:00:00Z"}]', case(PAGE)).notes


def test_the_clients_clock_is_corrected_before_times_are_judged() -> None:
    tomorrow = f'{{"name":"a","timestamp":"{dt.datetime(2027, 6, 1, tzinfo=dt.UTC).isoformat()}"}}'
    assert told(tomorrow)[0] == "TIME_IN_FUTURE"
    sent_us = us_of(dt.datetime(2027, 6, 1, 0, 1, tzinfo=dt.UTC))
    assert not both(f"[{tomorrow}]".encode(), case(sent_us=sent_us)).notes
    enveloped = f'{{"events":[{tomorrow}],"sentAt":"2027-06-01T00:01:00Z"}}'.encode()
    assert both(enveloped, case(sent_us=5)).sent_us == sent_us


def test_a_corrected_time_before_year_1_is_no_time() -> None:
    first = '{"name":"a","timestamp":"0001-01-01T00:00:00Z"}'
    assert told(first, case(sent_us=NOW + DAY_US))[0] == "INVALID_TIMESTAMP"


def test_nothing_is_in_the_future_while_the_clock_is_behind() -> None:
    assert not both(b'[{"name":"a","timestamp":"2026-12-24T00:00:00Z"}]', case(behind=True)).notes


@pytest.mark.parametrize("value", ["x", 5, None, "2026-11-24T10:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_wrong_sent_at_refuses_the_body(value: Any) -> None:
    for events in ([{"name": "a"}], [{"name": 5}]):
        with pytest.raises(BadInput) as raised:
            judge(json.dumps({"events": events, "sentAt": value}).encode(), case())
        assert (raised.value.code, raised.value.path) == ("INVALID_SENT_AT", "$.sentAt")


@pytest.mark.parametrize(
    "body", [b"nope", b"{", b"[", b'[{"name":"a"}', b"[NaN]", b'{"name":NaN}', b"\xff\xfe[\0]\0", b"\x00"]
)
def test_a_body_in_which_nothing_is_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput) as raised:
        judge(body, case())
    assert raised.value.code == "MALFORMED_JSON"


@pytest.mark.parametrize(("magic", "coding"), [(b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")])
def test_a_compressed_body_that_does_not_say_so_is_told_how(magic: bytes, coding: str) -> None:
    with pytest.raises(BadInput) as raised:
        judge(magic + b"abc", case())
    assert raised.value.hint is not None
    assert coding in raised.value.hint


def test_no_events_are_no_error() -> None:
    assert both(b"[]", case())[:2] == (0, Form.ARRAY)


@pytest.mark.parametrize(
    "body", [b"[" + b'{"name":"a"},' * 50 + b"{}]", b'{"name":"a"}\n' * 51, b"[" + b"{}," * 99 + b"{}]"]
)
def test_more_events_than_a_batch_may_hold_refuse_the_body(body: bytes) -> None:
    with pytest.raises(TooLarge) as raised:
        judge(body, case())
    assert (raised.value.code, raised.value.limit) == ("TOO_MANY_EVENTS", 50)


def test_a_schema_decides_by_its_mode() -> None:
    event = '{"name":"buy","data":{"attributes":{"price":"abc"}}}'
    schema = {"name": "buy", "jsonSchema": {"properties": {"price": {"type": "number"}}}}
    detail = "$[1].data.attributes.price: expected number, got 'abc'"
    assert told(event, case(schemas=[schema])) == ("TYPE_MISMATCH", detail, "server")
    assert told(event, case(schemas=[{**schema, "mode": "warn"}])) == ("TYPE_MISMATCH", detail, "")
    assert not both(f"[{event}]".encode(), case(schemas=[{**schema, "mode": "off"}])).notes


def test_an_undeclared_event_follows_the_setting_of_the_project() -> None:
    declared = [{"name": name, "jsonSchema": {}} for name in ("a", "b")]
    assert told('{"type":"USER_ACTION"}', case(schemas=declared, unknown_events="quarantine")) == (
        "UNKNOWN_EVENT",
        "$[1].name: 'USER_ACTION' has no schema; declare it under /api/v1/schemas",
        "server",
    )
    assert told('{"name":"a","version":"2"}', case(schemas=declared, unknown_events="warn"))[0] == "UNKNOWN_VERSION"


SQL = ["'; drop table events; --", "1 or 1=1", '"; select 1', "\\'; --", "$1", "{{7*7}}", "%s", "\0"]


@pytest.mark.parametrize("text", SQL)
def test_sql_in_every_string_is_data(text: str) -> None:
    event = {
        "name": text,
        "source": text,
        "actor": text,
        "version": text,
        "data": {"attributes": {text: text}, "metadata": {"userAgent": text, "sessionId": text, "batchId": text}},
    }
    judged = both(json.dumps([event]).encode(), case())
    assert not judged.notes
    assert dict(judged.sources) == {text: 1}


SCALARS = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "a",
        "web",
        "x" * 300,
        "2026-11-24T10:00:00Z",
        "2031-01-01T00:00:00Z",
        "0192f7a0-4d5e-7abc-8def-0123456789ab",
        "USER_ACTION",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=25),
    max_leaves=30,
)
FIELDS = st.sampled_from(["id", "type", "name", "source", "actor", "timestamp", "version", "data", "other"])
DATA = st.dictionaries(st.sampled_from(["attributes", "metadata", "other"]), VALUES, max_size=3)
MOSTLY_RIGHT = st.fixed_dictionaries(
    {"name": st.just("a")},
    optional={
        "timestamp": st.sampled_from(["2026-11-24T10:00:00Z", "2026-11-26T10:00:00Z", "2020-01-01T00:00:00+02:00"]),
        "source": st.sampled_from(["web", "shop", "evil"]),
        "data": DATA | st.fixed_dictionaries({"attributes": st.dictionaries(st.text(max_size=3), VALUES, max_size=25)}),
    },
)
EVENTS = MOSTLY_RIGHT | st.dictionaries(FIELDS, VALUES | DATA, max_size=5) | VALUES
CASES = st.sampled_from([case(), case(PAGE), case(PAGE, sent_us=NOW - DAY_US), case(behind=True)])


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=4), CASES, st.sampled_from(Form))
def test_the_quick_way_and_the_slow_way_agree(events: list[Any], by: Case, form: Form) -> None:
    texts = [json.dumps(event).encode() for event in events]
    match form:
        case Form.ARRAY:
            body = b"[" + b",".join(texts) + b"]"
        case Form.ENVELOPE:
            body = b'{"events":[' + b",".join(texts) + b"]}"
        case Form.SINGLE:
            body = b"".join(texts[:1])
        case _:
            body = b"\n".join(texts)
    try:
        judged = both(body, by)
    except HeadwaterError:
        assert judge_whole(body, by) is None
        return
    check_read_back(body, judged)


@settings(deadline=None, max_examples=300)
@given(st.binary() | st.text(alphabet='[]{}",:\\ \n01a', max_size=40).map(str.encode), CASES)
def test_any_bytes_are_judged_or_refused(body: bytes, by: Case) -> None:
    try:
        judged = judge(body, by)
    except HeadwaterError as error:
        assert error.code in ("EMPTY_BODY", "MALFORMED_JSON", "TOO_MANY_EVENTS")
    else:
        check_read_back(body, judged)


def check_read_back(body: bytes, judged: Judged) -> None:
    """What stands in the log reads back as the events that were judged."""
    assert sum(judged.sources.values()) == judged.n
    batch = Batch(
        batch_id=bytes(16),
        received_us=NOW,
        n=judged.n,
        form=judged.form,
        body=body,
        key_id="k",
        source="s",
        id_base=bytes(16),
        verdicts=judged.verdicts,
    )
    events = wire.decode_events(batch)
    bad = {verdict.index for verdict in judged.verdicts}
    assert [event is None for event in events] == [index in bad for index in range(judged.n)]
    assert len(wire.texts_of(batch)) == judged.n
