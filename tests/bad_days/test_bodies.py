"""Bodies that are not what they should be: nothing of a refused one is stored, and a bad event sinks no neighbour."""

import gzip
import json
import uuid

import pytest
import zstandard
from tests.bad_days.raw import answer_on, connected, event, exchange, head_of

MIB = 1 << 20
BODY_MARK = "a-text-that-stands-in-bodies-only"

BAD = {
    "truncated": (b'{"name": "x", "data": {"attri', "MALFORMED_JSON"),
    "not JSON": (b"{name: x}", "MALFORMED_JSON"),
    "a number": (b"7", "TYPE_MISMATCH"),
    "null": (b"null", "TYPE_MISMATCH"),
    "an array": (b'[{"name": "x"}]', "TYPE_MISMATCH"),
    "not UTF-8 in a name": (b'{"name": "\xff\xfe"}', "NOT_UTF8"),
    "not UTF-8 in attributes": (b'{"name": "x", "data": {"attributes": {"a": "\xc3"}}}', "NOT_UTF8"),
    "UTF-8 of a surrogate": (b'{"name": "x", "data": {"attributes": {"a": "\xed\xa0\x80"}}}', "NOT_UTF8"),
    "lone surrogate in a name": (b'{"name": "\\ud800"}', "INVALID_UNICODE"),
    "lone surrogate in attributes": (b'{"name": "x", "data": {"attributes": {"a": "\\udc00"}}}', "INVALID_UNICODE"),
    "lone surrogate in a key": (b'{"name": "x", "data": {"attributes": {"\\ud800": 1}}}', "INVALID_UNICODE"),
    "too deep": (b'{"name": "x", "data": {"attributes": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}}", "TOO_DEEP"),
    "far too deep": (
        b'{"name": "x", "data": {"attributes": {"a": ' + b'{"a":' * 60_000 + b"1" + b"}" * 60_003,
        "TOO_DEEP",
    ),
    "NaN": (b'{"name": "x", "data": {"attributes": {"a": NaN}}}', "MALFORMED_JSON"),
    "Infinity": (b'{"name": "x", "data": {"attributes": {"a": -Infinity}}}', "MALFORMED_JSON"),
    "control character": (b'{"name": "x", "data": {"attributes": {"a": "\x01"}}}', "MALFORMED_JSON"),
    "NUL byte": (b'{"name": "x\x00y"}', "MALFORMED_JSON"),
    "5 MB attribute": (b'{"name": "x", "data": {"attributes": {"a": "' + b"x" * 5 * MIB + b'"}}}', "EVENT_TOO_LARGE"),
    "300 KB attribute": (b'{"name": "x", "data": {"attributes": {"a": "' + b"x" * 300_000 + b'"}}}', "STRING_TOO_LONG"),
    "trailing comma": (b'{"name": "x",}', "MALFORMED_JSON"),
}

KEPT = {
    "a huge integer": b'{"a": 1' + b"0" * 400 + b"}",
    "a huge exponent": b'{"a": 1e999999}',
    "a tiny exponent": b'{"a": 1e-999999}',
    "a long fraction": b'{"a": 0.' + b"1" * 10_000 + b"}",
    "2^63": b'{"a": 9223372036854775808, "b": -9223372036854775809}',
    "minus zero": b'{"a": -0, "b": -0.0}',
    "a key twice": b'{"a": 1, "a": "two", "A": 3}',
    "an empty key": b'{"": 1, " ": 2, ".": 3}',
    "NUL escaped": b'{"a": "x\\u0000y", "\\u0000": 1}',
    "a surrogate pair": b'{"a": "\\ud83d\\ude00"}',
    "deep, but not too": b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}",
}


def stored(served, event_id):
    """The event as it is found again, once it is there."""

    def found():
        status, _, answer = served.ask("GET", f"/api/v1/events/{event_id}")
        return answer if status == 200 else None

    return served.wait_for(found)


def receipt(served, sent):
    return served.ask("GET", f"/api/v1/events/{sent['id']}/receipt")[2]


@pytest.mark.parametrize("form", ["array", "envelope", "ndjson"])
def test_a_bad_event_is_told_and_its_neighbours_are_stored(shared, form):
    sent = []
    for case, (bad, code) in BAD.items():
        before, after = event(), event()
        texts = [json.dumps(before).encode(), bad, json.dumps(after).encode()]
        status, _, answer = shared.send(shaped(form, texts))
        if case == "truncated" and form != "ndjson":
            # Its open brackets swallow what follows, the array's end too: nothing is stored, and the sender knows.
            assert (status, answer["code"]) == (400, "MALFORMED_JSON"), answer
            assert receipt(shared, before)["state"] == "unknown"
            continue
        assert status == 201, (case, answer)
        sent.append(before["id"])
        told = answer["results"][0]
        assert told["index"] == 1 and told["status"] == "quarantined", (case, answer)
        assert told["code"] == code, (case, told)
        assert told["detail"].startswith("$[1]") and len(told["detail"]) < 1000, (case, told)
        assert (answer["accepted"], answer["quarantined"]) == (2, 1), (case, answer)
        sent.append(after["id"])
    for each in sent:
        assert stored(shared, each)["name"] == "probe"


def shaped(form, texts):
    if form == "ndjson":
        return b"\n".join(texts)
    array = b"[" + b", ".join(texts) + b"]"
    return array if form == "array" else b'{"events": ' + array + b"}"


def test_odd_attributes_are_stored_or_quarantined_with_a_reason_and_never_lost(shared):
    sent = {}
    for case, attributes in KEPT.items():
        sent[case] = one, neighbour = event(), event()
        text = json.dumps(one)[:-1].encode() + b', "data": {"attributes": ' + attributes + b"}}"
        status, _, answer = shared.send(b"[" + text + b"," + json.dumps(neighbour).encode() + b"]")
        assert status == 201, (case, answer)
    assert shared.settled()["balanced"]
    for case, (one, neighbour) in sent.items():
        assert receipt(shared, neighbour)["state"] == "stored", case
        found = receipt(shared, one)
        assert found["state"] == "stored" or (found["state"] == "quarantined" and found["reason"]), (case, found)
        if found["state"] == "stored":
            assert shared.ask("GET", f"/api/v1/events/{one['id']}")[0] == 200, case


TIMES = {
    "-1": "INVALID_TIMESTAMP",
    "0": "INVALID_TIMESTAMP",
    "1732442400": "INVALID_TIMESTAMP",
    "null": "INVALID_TIMESTAMP",
    "[]": "INVALID_TIMESTAMP",
    '""': "INVALID_TIMESTAMP",
    '"now"': "INVALID_TIMESTAMP",
    '"1969-12-31T23:59:59Z"': None,
    '"-0001-01-01T00:00:00Z"': "INVALID_TIMESTAMP",
    '"0000-01-01T00:00:00Z"': "INVALID_TIMESTAMP",
    '"0001-01-01T00:00:00Z"': None,
    '"0001-01-01T00:00:00+14:00"': "INVALID_TIMESTAMP",
    '"9999-12-31T23:59:59.999999Z"': "TIME_IN_FUTURE",
    '"9999-12-31T23:59:59-14:00"': "INVALID_TIMESTAMP",
    '"10000-01-01T00:00:00Z"': "INVALID_TIMESTAMP",
    '"2026-11-20T10:00:00"': "INVALID_TIMESTAMP",
    '"2026-11-20"': "INVALID_TIMESTAMP",
    '"2016-12-31T23:59:60Z"': "INVALID_TIMESTAMP",
    '"2026-02-30T00:00:00Z"': "INVALID_TIMESTAMP",
    '"2026-11-20T24:00:00Z"': "INVALID_TIMESTAMP",
    '"2026-11-20T10:00:00+99:99"': "INVALID_TIMESTAMP",
    '"2026-11-20T10:00:00.1234567891234Z"': None,
}

IDS = {
    "7": "INVALID_ID",
    "null": "INVALID_ID",
    "{}": "INVALID_ID",
    '""': "INVALID_ID",
    '"7"': "INVALID_ID",
    '"not-a-uuid-at-all-but-36-characters!"': "INVALID_ID",
    '"{6f2c9d2e-0000-4000-8000-00000000000a}"': "INVALID_ID",
    '"urn:uuid:6f2c9d2e-0000-4000-8000-00000000000a"': "INVALID_ID",
    '"6f2c9d2e-0000-4000-8000-00000000000"': "INVALID_ID",
    '"6f2c9d2e-0000-4000-8000-00000000000ag"': "INVALID_ID",
    '"\\u0036f2c9d2e-0000-4000-8000-00000000000b"': None,
    '"6F2C9D2E-0000-4000-8000-00000000000C"': None,
    '"00000000-0000-0000-0000-000000000000"': None,
    '"ffffffff-ffff-ffff-ffff-ffffffffffff"': None,
}


@pytest.mark.parametrize(("field", "cases"), [("timestamp", TIMES), ("id", IDS)], ids=["time", "id"])
def test_times_and_ids_of_every_wrong_kind(shared, field, cases):
    before = shared.settled()
    stored_after = {}
    for value, code in cases.items():
        one, neighbour = event(), event()
        text = json.dumps({**one, field: "HERE"}).replace('"HERE"', value)
        status, _, answer = shared.send(f"[{text}, {json.dumps(neighbour)}]".encode())
        assert status == 201, (value, answer)
        assert [result["code"] for result in answer["results"]] == ([code] if code else []), (value, answer)
        if field == "timestamp":
            stored_after[value] = one, "quarantined" if code else "stored"
        stored_after[value + " neighbour"] = neighbour, "stored"
    after = shared.settled()
    bad = sum(code is not None for code in cases.values())
    assert after["quarantined"] - before["quarantined"] == bad
    assert after["stored"] - before["stored"] == 2 * len(cases) - bad
    for value, (one, state) in stored_after.items():
        assert receipt(shared, one)["state"] == state, value


def test_no_events_are_an_answer_and_100000_are_refused_whole(shared):
    before = shared.settled()["received"]
    for nothing in (b"[]", b'{"events": []}'):
        status, _, answer = shared.send(nothing)
        assert (status, answer["accepted"]) == (201, 0)
    for empty in (b"", b" \n "):
        status, _, problem = shared.send(empty)
        assert (status, problem["code"]) == (400, "EMPTY_BODY")
    many = b"[" + b",".join([b'{"name":"x"}'] * 100_000) + b"]"
    for body in (many, many.replace(b"},", b"}\n").strip(b"[]"), b'{"events":' + many + b"}"):
        status, _, problem = shared.send(body)
        assert (status, problem["code"], problem["limit"]) == (413, "TOO_MANY_EVENTS", 10_000)
    assert shared.settled()["received"] == before


def test_a_body_of_which_nothing_can_be_read_is_400_and_stores_nothing(shared):
    before = shared.settled()["received"]
    for body in (b"hello", b"{", b"[", b"[}", b"\x00", b"\xff\xfe[\x00]\x00", b'"', b"," * 1000, b"[" * 100_000):
        status, _, problem = shared.send(body)
        assert (status, problem["code"]) == (400, "MALFORMED_JSON"), (body[:9], problem)
    assert shared.settled()["received"] == before


def test_content_type_does_not_matter(shared):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "image/png", "", "a" * 900):
        status, _, answer = shared.send([event()], headers={"Content-Type": kind})
        assert (status, answer["accepted"]) == (201, 1), kind


GZIPPED = gzip.compress(b'[{"name":"x"}]', mtime=0)
ZSTD = zstandard.compress(b'[{"name":"x"}]')
ENCODINGS = [
    ("gzip", b"[]", "BAD_ENCODING"),
    ("zstd", b"[]", "BAD_ENCODING"),
    ("gzip", b"", "BAD_ENCODING"),
    ("zstd", b"", "BAD_ENCODING"),
    ("gzip", GZIPPED[:-5], "BAD_ENCODING"),
    ("gzip", GZIPPED[:-8] + bytes(8), "BAD_ENCODING"),
    ("gzip", GZIPPED + b"rest", "BAD_ENCODING"),
    ("gzip", ZSTD, "BAD_ENCODING"),
    ("zstd", GZIPPED, "BAD_ENCODING"),
    ("zstd", ZSTD[:-3], "BAD_ENCODING"),
    ("identity", GZIPPED, "MALFORMED_JSON"),
    ("br", b"[]", "UNSUPPORTED_ENCODING"),
    ("gzip, gzip", gzip.compress(GZIPPED), "UNSUPPORTED_ENCODING"),
    ("\xff", b"[]", "UNSUPPORTED_ENCODING"),
    ("GZIP", GZIPPED, None),
]


def test_a_lying_content_encoding_is_told(shared):
    for encoding, body, code in ENCODINGS:
        raw = head_of(shared, len(body), lines=(f"Content-Encoding: {encoding}",)) + body
        status, _, answer = exchange(shared, raw)
        expected = 201 if code is None else 415 if code == "UNSUPPORTED_ENCODING" else 400
        assert (status, answer.get("code")) == (expected, code), (encoding, body, answer)


def bomb(pack, mib):
    """`mib` MiB of blanks in as little as there can be."""
    if pack == "gzip":
        return gzip.compress(b" " * (mib * MIB), 1)
    return zstandard.ZstdCompressor(level=3).compress(b" " * (mib * MIB))


@pytest.mark.parametrize("pack", ["gzip", "zstd"])
def test_a_zip_bomb_is_refused_and_memory_stays_flat(shared, pack):
    body = bomb(pack, 256)
    shared.send(body, headers={"Content-Encoding": pack})
    before = shared.resident_bytes(peak=True)
    for _ in range(4):
        status, _, problem = shared.send(body, headers={"Content-Encoding": pack})
        assert (status, problem["code"]) == (413, "EXPANDED_TOO_LARGE")
    assert shared.resident_bytes(peak=True) - before < 80 * MIB
    assert shared.send([event()])[0] == 201


def test_a_zstd_frame_that_wants_a_window_of_gigabytes_is_refused(shared):
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=30)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = body.compress(b'[{"name": "x"}]' * 10) + body.flush()
    before = shared.resident_bytes(peak=True)
    status, _, problem = shared.send(packed, headers={"Content-Encoding": "zstd"})
    assert (status, problem["code"]) == (400, "BAD_ENCODING"), problem
    assert shared.resident_bytes(peak=True) - before < 80 * MIB


def test_a_body_above_its_limit_is_413_said_and_unsaid(shared):
    body = b" " * (11 * MIB)
    status, _, problem = shared.send(body)
    assert (status, problem["code"]) == (413, "BODY_TOO_LARGE")
    chunks = b"".join(b"%x\r\n%s\r\n" % (MIB, b" " * MIB) for _ in range(11)) + b"0\r\n\r\n"
    with connected(shared) as connection:
        connection.sendall(head_of(shared, None, lines=("Transfer-Encoding: chunked",)) + chunks)
        status, _, problem = answer_on(connection)
    assert (status, problem["code"]) == (413, "BODY_TOO_LARGE")


def test_sql_in_every_text_is_stored_and_found_again_literally(shared):
    evil = "x'); drop table events; -- \" \\ {$1} %s ${a} '' ; select * from read_csv('/etc/passwd')"
    one = {
        "id": str(uuid.uuid4()),
        "name": evil,
        "source": evil,
        "actor": evil,
        "version": evil[:60],
        "type": "CUSTOM_EVENT",
        "timestamp": "2026-11-20T10:00:00Z",
        "data": {
            "attributes": {evil: evil, "price": 1, "list": [evil], "in": {evil: {evil: evil}}},
            "metadata": {"sessionId": evil, "batchId": evil, "userAgent": evil},
        },
    }
    status, _, answer = shared.send([one], headers={"User-Agent": evil, "Idempotency-Key": evil})
    assert (status, answer["accepted"]) == (201, 1), answer
    found = stored(shared, one["id"])
    for name in ("name", "source", "actor", "version"):
        assert found[name] == one[name]
    assert found["data"]["attributes"] == one["data"]["attributes"]
    assert found["data"]["metadata"]["sessionId"] == evil
    for field in ("name", "source", "actor", "sessionId", "userAgent"):
        filters = [{"field": field, "operator": "eq", "value": evil}]
        assert shared.count(filters=filters) == 1, field
    assert shared.count(filters=[{"field": "name", "operator": "contains", "value": "'); drop table"}]) == 1
    quoted = {"metrics": ["events"], "timeRange": {"last": "30d"}, "dimensions": [f"attributes.{evil}"]}
    status, _, answer = shared.ask("POST", "/api/v1/query", quoted)
    assert status in (200, 400), answer
    assert shared.settled()["balanced"]


def test_bodies_are_never_in_the_journal(shared):
    marked = event(data={"attributes": {"secret": BODY_MARK}})
    shared.send([marked, {"name": BODY_MARK, "timestamp": BODY_MARK}])
    shared.send(json.dumps({"name": BODY_MARK}).encode()[:-1])
    shared.send([marked], key="hw_sk_" + BODY_MARK)
    shared.ask("GET", f"/api/v1/events?name={BODY_MARK}")
    stored(shared, marked["id"])
    said = shared.said()
    assert BODY_MARK not in said
    assert "hw_sk_" not in said and "hw_in_" not in said
