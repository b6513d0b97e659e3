import datetime as dt
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge
from headwater.collect.validate import Moment, Sender
from headwater.demo import facts, live, shop
from headwater.demo.definitions import demo_metrics, demo_schemas
from headwater.demo.live import live_shop, second, trickle
from headwater.demo.load import load_demo
from headwater.demo.people import VISITOR
from headwater.demo.questions import first_questions
from headwater.demo.sender import Sender as Poster
from headwater.demo.sender import Totals
from headwater.domain.errors import BadInput, Refused, Unavailable
from headwater.domain.events import DAY_US, Event, us_of
from headwater.domain.metrics import check_definition, read_definition
from headwater.domain.schemas import Rules, parse_schema
from headwater.domain.wire import UNREADABLE

END_US = us_of(dt.datetime(2026, 11, 24, 11, tzinfo=dt.UTC))


class Site(ThreadingHTTPServer):
    """A server that takes events as the wire says, keeps them, and can be told to answer otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.events: list[bytes] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        """Given to the next requests instead, first one first."""
        self.arrived = threading.Condition()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self._note(b"")
        self._answer(200, {}, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(body)
        with self.server.arrived:
            other = self.server.answers.pop(0) if self.server.answers else None
        if other is not None:
            self._answer(*other)
            return
        good = bad = 0
        texts = msgspec.json.decode(body, type=list[msgspec.Raw]) if body.startswith(b"[") else []
        for text in texts:
            try:
                msgspec.json.decode(text, type=Event)
                good += 1
            except UNREADABLE:
                bad += 1
        with self.server.arrived:
            self.server.events.extend(map(bytes, texts))
            self.server.arrived.notify_all()
        self._answer(
            201, {}, msgspec.json.encode({"accepted": good, "duplicate": 0, "quarantined": bad, "results": []})
        )

    def _note(self, body: bytes) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers), body))

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_whole_history_is_posted_from_another_process_and_counted(site: Site) -> None:
    told: list[int] = []
    site.answers = [(429, {"Retry-After": "0.1"}, b"{}"), (503, {}, b"no json")]
    totals = load_demo(
        site.url, {"X-Headwater-Project": "p"}, 20_000, 7, END_US, lambda totals: told.append(totals.sent)
    )
    expected = [text.encode() for hour in shop.history(7, END_US, 20_000) for _, text in hour]
    assert sorted(site.events) == sorted(expected)
    assert totals.sent == len(expected) == totals.accepted + totals.quarantined
    assert totals.quarantined > 0
    assert told == sorted(told)
    assert told[-1] == totals.sent
    assert all(headers["X-Headwater-Project"] == "p" for _, _, headers, _ in site.seen)
    assert {path for _, path, _, _ in site.seen} == {"/api/v1/events"}


def test_a_refusal_in_the_child_is_raised_here_with_its_code(site: Site) -> None:
    problem = b'{"code":"FORBIDDEN_SCOPE","detail":"this key may not send events"}'
    site.answers = [(403, {}, problem)] * 10
    with pytest.raises(Refused, match="may not send") as caught:
        load_demo(site.url, {}, 20_000, 7, END_US, lambda totals: None)
    assert caught.value.code == "FORBIDDEN_SCOPE"


def test_an_exception_out_of_the_progress_stops_the_child(site: Site) -> None:
    def stop(totals: Totals) -> None:
        if totals.sent:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_demo(site.url, {}, 500_000, 7, END_US, stop)
    assert 0 < len(site.events) < 400_000


def test_a_collector_that_is_gone_is_told_after_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.demo.sender.PATIENCE_SECONDS", 0.2)
    with pytest.raises(Unavailable, match="took nothing for 0 s"):
        Poster("http://127.0.0.1:9", {}).post(b"[]")
    with pytest.raises(BadInput, match="not an http address"):
        Poster("127.0.0.1:80", {})


def test_a_dropped_connection_is_made_anew_and_the_body_sent_again(site: Site) -> None:
    sender = Poster(site.url, {})
    site.answers = [(201, {"Connection": "close"}, b'{"accepted":0,"duplicate":0,"quarantined":0}')]
    for _ in range(3):
        sender.post(b'[{"name":"a"}]')
    assert site.events == [b'{"name":"a"}'] * 2
    sender.close()


def test_the_trickle_sends_good_events_of_now_until_it_is_stopped(site: Site) -> None:
    stop = threading.Event()
    found: list[Totals] = []
    thread = threading.Thread(target=lambda: found.append(trickle(site.url, {}, 7, stop)))
    thread.start()
    with site.arrived:
        assert site.arrived.wait_for(lambda: len(site.events) >= 10, timeout=60)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert found[0].sent == len(site.events)
    now_us = us_of(dt.datetime.now(dt.UTC))
    recent = 0
    for text in site.events:
        try:
            event = msgspec.json.decode(text, type=Event)
        except msgspec.ValidationError:
            continue
        recent += abs(now_us - us_of(event.timestamp)) < 120_000_000  # type: ignore[arg-type]
    assert recent > 0.7 * len(site.events)


def test_the_trickle_is_five_to_ten_events_a_second_and_knows_the_first_customers() -> None:
    shop_now = live_shop(7, END_US, 100_000)
    texts = [second(shop_now, live.WARM_UP_TICKS + tick) for tick in range(1200)]
    assert 5 < sum(map(len, texts)) / 1200 < 10
    founders = {f"u-{number:07d}" for number in range(shop.founders_of(100_000))}
    actors = {msgspec.json.decode(text).get("actor") for tick in texts for text in tick}
    assert len(actors & founders) > 20
    past = shop.Shop(7, 0, 1, tick_us=1, history_end_us=END_US, founders=shop.founders_of(100_000))
    fresh = live_shop(8, END_US, 100_000)
    assert [p.city for p in past.people[0][:50]] == [p.city for p in shop_now.people[0][:50]]
    assert [p.city for p in past.people[0][:50]] != [p.city for p in fresh.people[0][:50]]
    assert any(person.standing != VISITOR for person in past.people[0])


def test_the_printed_questions_work_when_pasted_into_a_shell(site: Site) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    for line in first_questions(site.url, END_US):
        subprocess.run(["sh", "-c", line], check=True, capture_output=True)
    metrics, query, ledger = site.seen
    assert metrics[1] == (
        "/api/v1/metrics?names=revenue,orders&timeRange[start]=2026-11-18T00:00:00Z"
        "&timeRange[end]=2026-11-25T00:00:00Z&timeRange[interval]=1d"
    )
    assert (query[0], query[1], query[2]["Content-Type"]) == ("POST", "/api/v1/query", "application/json")
    asked = msgspec.json.decode(query[3])
    incident = facts.incident_of(END_US)
    start, end = (us_of(dt.datetime.fromisoformat(asked["timeRange"][edge])) for edge in ("start", "end"))
    assert start <= incident.start_us < incident.end_us <= end
    assert asked["metrics"] == ["checkout_failures", "orders"]
    assert ledger[:2] == ("GET", "/api/v1/ledger")


def test_declared_metrics_and_schemas_speak_of_events_and_fields_that_exist() -> None:
    seen: dict[str, set[str]] = {}
    for hour in shop.history(7, END_US, 60_000):
        for _, text in hour:
            event = msgspec.json.decode(text)
            if isinstance(event["data"]["attributes"], dict):
                seen.setdefault(event["name"], set()).update(event["data"]["attributes"])
    assert 8 <= len(demo_metrics()) <= 12
    for metric in demo_metrics():
        for name in metric["events"]:
            for field in [metric.get("field", "actor"), *metric["dimensions"]]:
                assert not field.startswith("attributes.") or field.removeprefix("attributes.") in seen[name]
    modes = {schema["name"]: schema["mode"] for schema in demo_schemas()}
    assert modes == {"purchase": "enforce", "signup": "warn", "refund": "warn"}
    for schema in demo_schemas():
        assert set(schema["jsonSchema"]["properties"]) <= seen[schema["name"]]


def test_the_declarations_are_accepted_and_the_collector_quarantines_what_is_broken_and_nothing_else() -> None:
    for metric in demo_metrics():
        check_definition(read_definition(metric))
    rules = Rules([parse_schema(schema) for schema in demo_schemas()])
    case = Case(Sender("open", "open", frozenset(), public=False), Moment(END_US), Bounds(), rules)
    codes: Counter[str] = Counter()
    broken = shop.Shop(
        7, END_US - facts.DAYS * DAY_US, END_US, tick_us=facts.HOUR_US, history_end_us=END_US, founders=300
    )
    for hour in shop.hours_of(broken, 100_000):
        judged = judge(shop.body_of([text for _, text in hour]), case)
        assert all(note.quarantine for note in judged.notes)
        codes.update(f"{note.code} {note.detail.partition(']')[2].partition(':')[0]}" for note in judged.notes)
    assert codes.total() == broken.outbox.broken
    assert set(codes) == {
        "TYPE_MISMATCH .name",
        "TYPE_MISMATCH .source",
        "TYPE_MISMATCH .version",
        "TYPE_MISMATCH .data.attributes",
        "TYPE_MISMATCH .data.attributes.amount",
        "INVALID_TYPE .type",
        "INVALID_ID .id",
        "INVALID_TIMESTAMP .timestamp",
        "TIME_IN_FUTURE .timestamp",
    }


def test_a_load_can_be_stopped_while_the_collector_lets_it_wait(site: Site) -> None:
    site.answers = [(429, {"Retry-After": "50"}, b"{}")] * 2
    asked = threading.Event()

    def stop(totals: Totals) -> None:
        assert totals.sent == 0
        if len(site.seen) >= 2:
            asked.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_demo(site.url, {}, 20_000, 7, END_US, stop)
    assert asked.is_set()
