import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.collect.importing.combined import event_of, read_combined, unescaped
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin

ORIGIN = Origin("access.log", "access.log", "request")
LINE = '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a/b?x=1&y=2 HTTP/1.1" 200 5120 "http://example.org/" "Firefox"'


def parsed(line: str | bytes, number: int = 1) -> dict[str, Any]:
    text = line if isinstance(line, bytes) else line.encode()
    event = event_of(text, number, ORIGIN, {})
    assert isinstance(event, bytes), event
    found: dict[str, Any] = json.loads(event)
    return found


def attributes(line: str | bytes) -> dict[str, Any]:
    found: dict[str, Any] = parsed(line)["data"]["attributes"]
    return found


def request_line(request: str) -> str:
    return LINE.replace("GET /a/b?x=1&y=2 HTTP/1.1", request)


def test_a_line_becomes_a_request_with_all_its_fields() -> None:
    event = parsed(LINE, 12)
    assert len(event.pop("id")) == 36
    assert event == {
        "name": "request",
        "source": "access.log",
        "actor": "192.0.2.7",
        "timestamp": "2015-05-17T10:05:03Z",
        "data": {
            "attributes": {
                "method": "GET",
                "path": "/a/b",
                "query": "x=1&y=2",
                "protocol": "HTTP/1.1",
                "status": 200,
                "bytes": 5120,
                "referrer": "http://example.org/",
            },
            "metadata": {"sourceIp": "192.0.2.7", "userAgent": "Firefox", "batchId": "access.log:12"},
        },
    }


def test_dashes_are_missing_values() -> None:
    event = parsed('192.0.2.7 - bob [17/May/2015:10:05:03 +0000] "-" 408 - "-" "-"')
    assert event["data"]["attributes"] == {"status": 408}
    assert "userAgent" not in event["data"]["metadata"]


def test_times_with_an_offset_become_utc_across_midnight_and_year() -> None:
    assert parsed(LINE.replace("10:05:03 +0000", "01:30:00 +0545"))["timestamp"] == "2015-05-16T19:45:00Z"
    assert parsed(LINE.replace("17/May/2015:10:05:03 +0000", "31/Dec/2015:23:59:59 -0100"))["timestamp"] == (
        "2016-01-01T00:59:59Z"
    )


def test_a_remembered_minute_gives_each_second_and_zone_its_own_time() -> None:
    minutes: dict[str, str] = {}
    times = ["17/May/2015:10:05:03 +0000", "17/May/2015:10:05:59 +0000", "17/May/2015:10:05:03 +0200"]
    events = [event_of(LINE.replace(times[0], time).encode(), 1, ORIGIN, minutes) for time in times]
    assert [json.loads(event)["timestamp"][11:] for event in events if isinstance(event, bytes)] == [
        "10:05:03Z",
        "10:05:59Z",
        "08:05:03Z",
    ]


@pytest.mark.parametrize(
    "time",
    ["31/Feb/2015:10:05:03 +0000", "17/May/2015:10:05:60 +0000", "17/May/2015:25:05:03 +0000", "2015-05-17T10:05:03Z",
     "17/Mai/2015:10:05:03 +0000", "01/Jan/0001:00:00:00 +0100", "17/May/2015:10:05:03 +9900"],
)  # fmt: skip
def test_a_time_that_is_none_makes_a_bad_line(time: str) -> None:
    for minutes in ({}, {"17/May/2015:10:05 +0000": "2015-05-17T10:05:"}):
        bad = event_of(LINE.replace("17/May/2015:10:05:03 +0000", time).encode(), 1, ORIGIN, minutes)
        assert isinstance(bad, BadLine)
        assert bad.code == "INVALID_TIMESTAMP"
        assert time in bad.detail


def test_escaped_quotes_and_backslashes_are_unescaped() -> None:
    event = parsed(LINE.replace('"Firefox"', r'"Mozilla \"quoted\" C:\\dir"'))
    assert event["data"]["metadata"]["userAgent"] == 'Mozilla "quoted" C:\\dir'


def test_escaped_utf8_is_read_and_other_escapes_stay_as_they_are() -> None:
    assert unescaped(r"/caf\xc3\xa9") == "/café"
    assert unescaped(r"/caf\xe9") == r"/caf\xe9"
    assert unescaped(r"\x16\x03\x01") == r"\x16\x03\x01"


def test_a_tls_hello_is_kept_as_request_with_status_and_size() -> None:
    found = attributes(request_line(r"\x16\x03\x01\x02\x00\x01"))
    assert found == {
        "request": r"\x16\x03\x01\x02\x00\x01",
        "status": 200,
        "bytes": 5120,
        "referrer": "http://example.org/",
    }


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("GET / HTTP/1.1", {"method": "GET", "path": "/", "protocol": "HTTP/1.1"}),
        ("GET /old", {"method": "GET", "path": "/old"}),
        ("GET /a b c HTTP/1.0", {"method": "GET", "path": "/a b c", "protocol": "HTTP/1.0"}),
        ("OPTIONS * HTTP/1.1", {"method": "OPTIONS", "path": "*", "protocol": "HTTP/1.1"}),
        ("GET /p?a=?b HTTP/2.0", {"method": "GET", "path": "/p", "query": "a=?b", "protocol": "HTTP/2.0"}),
        ("GET /p? HTTP/2.0", {"method": "GET", "path": "/p", "protocol": "HTTP/2.0"}),
        ("hello", {"request": "hello"}),
        ("GET", {"request": "GET"}),
        ("a b c d", {"request": "a b c d"}),
        ("", {}),
    ],
)
def test_request_lines_of_all_kinds(request_text: str, expected: dict[str, Any]) -> None:
    found = attributes(request_line(request_text))
    assert {key: found[key] for key in found if key not in ("status", "bytes", "referrer")} == expected


def test_ipv6_clients_are_addresses_and_host_names_are_actors_only() -> None:
    event = parsed(LINE.replace("192.0.2.7", "2001:db8::7"))
    assert event["actor"] == event["data"]["metadata"]["sourceIp"] == "2001:db8::7"
    event = parsed(LINE.replace("192.0.2.7", "crawler.example.org"))
    assert event["actor"] == "crawler.example.org"
    assert "sourceIp" not in event["data"]["metadata"]


def test_common_format_and_extra_fields_and_cut_off_lines_are_read() -> None:
    common = LINE.partition(' "http')[0]
    assert attributes(common)["bytes"] == 5120
    assert parsed(LINE + ' "0.012" extra')["data"]["metadata"]["userAgent"] == "Firefox"
    assert parsed(LINE[:-1])["data"]["metadata"]["userAgent"] == "Firefox"
    assert parsed(LINE.replace(" - - ", ' - "John Doe" '))["actor"] == "192.0.2.7"


def test_bytes_that_are_not_utf8_are_kept_visible() -> None:
    assert attributes(LINE.encode().replace(b"/a/b", b"/a\xff"))["path"] == r"/a\xff"


@pytest.mark.parametrize("line", ["hello", LINE.replace("200", "2000"), LINE.replace(" 5120", ""), '" "', "\0"])
def test_other_lines_are_bad(line: str) -> None:
    bad = event_of(line.encode(), 1, ORIGIN, {})
    assert isinstance(bad, BadLine)
    assert bad.code == "MALFORMED_LINE"
    assert bad.text == line


@given(st.binary(max_size=200))
@example(LINE.encode() + b"\\")
def test_no_line_raises(line: bytes) -> None:
    event_of(line, 1, ORIGIN, {})


@given(st.lists(st.sampled_from([LINE[:30], '"', "\\", "[", "]", " ", "- ", "200 ", "\xff", LINE]), max_size=30))
def test_no_shuffled_line_raises_and_every_event_is_json(parts: list[str]) -> None:
    event = event_of("".join(parts).encode(), 1, ORIGIN, {})
    if isinstance(event, bytes):
        assert json.loads(event)["name"] == "request"


@pytest.mark.parametrize("unit", ["[", '"', '\\"', " ", '- - [x] "'])
def test_a_hostile_line_of_half_a_megabyte_takes_no_longer_than_an_honest_one(unit: str) -> None:
    # A quadratic pattern takes minutes here, and the test's timeout ends it.
    for prefix in ("", "a - - ", "a - - [t] ", 'a - - [t] "GET / HTTP/1.1" 200 5 '):
        event_of((prefix + unit * (500_000 // len(unit))).encode(), 1, ORIGIN, {})


def test_blank_lines_keep_the_count_and_reading_resumes_at_any_record(tmp_path: Path) -> None:
    path = tmp_path / "access.log.gz"
    lines = [LINE, "", "bad", LINE.replace("192.0.2.7", "192.0.2.8"), LINE]
    path.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    with Input(path) as source:
        whole = list(read_combined(source, ORIGIN))
    assert [record.line for record in whole] == [1, 3, 4, 5]
    for number, record in enumerate(whole):
        with Input(path) as source:
            assert list(read_combined(source, ORIGIN, record.end, record.last)) == whole[number + 1 :]
