"""Every decoder of bytes from outside: what it may be given, and what it may do with it.

A check raises where a decoder does what it must not: raise anything but what it documents, lose or invent an event,
let pass what a later step can't take.
"""

import gzip
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard
from hypothesis import strategies as st
from tests.fuzz.mutation import bytes_like, documents_like

from headwater import config
from headwater.collect.bounds import Bounds
from headwater.collect.expand import expand
from headwater.collect.head import headers_of, idempotency_key_of, parameters_of, sane_request_id, sent_us_of
from headwater.collect.importing.formats import FORMATS
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record, quarantined_event
from headwater.collect.judge import Case, judge, judge_apart, judge_whole
from headwater.collect.validate import Moment, Sender
from headwater.domain.batches import Batch, decode_batch, encode_batch
from headwater.domain.cursors import checked_limit, cursor_of, position_of
from headwater.domain.errors import BadInput
from headwater.domain.events import minute_of
from headwater.domain.filters import Filter, predicates_of
from headwater.domain.metrics import read_definition
from headwater.domain.networks import address_of, client_of, networks_of
from headwater.domain.patches import Moment as PatchMoment
from headwater.domain.patches import parse_patch
from headwater.domain.problems import problem_of
from headwater.domain.projects import project_settings
from headwater.domain.reading import decoded, read
from headwater.domain.replays import parse_replay
from headwater.domain.schemas import Rules, parse_schema, schema_of
from headwater.domain.timerange import RangeAsked, edges_of, resolve, zone_of
from headwater.engine.query.parse import decode_query, parse_query
from headwater.process.decode import unpack
from headwater.process.pipeline import blocks_of
from headwater.storage.log.base import Entry, Frame, Kind
from headwater.storage.log.disk import Disk
from headwater.storage.log.frames import SEQ_MAX, Gap, decode_body, encode_frame, walk
from headwater.storage.log.marks import Mark, MarkFile
from headwater.storage.log.segments import Head, decode_head, encode_head

RECEIVED_US = 1_795_514_400_000_000
LOG_ID = bytes(range(16))
EVENT = {
    "id": "00000000-0000-4000-8000-000000000001",
    "type": "USER_ACTION",
    "name": "purchase",
    "source": "web",
    "actor": "a1",
    "timestamp": "2026-11-24T09:59:59.123456Z",
    "version": "1",
    "data": {
        "attributes": {"price": 12.5, "country": "DE", "tags": ["a", "b"], "nested": {"deep": [1, {"x": None}]}},
        "metadata": {"sourceIp": "192.0.2.1", "userAgent": "Firefox", "sessionId": "s1", "batchId": "b"},
    },
}
BROKEN = EVENT | {"id": 5}
SMALL: dict[str, Any] = {"name": "page_view", "data": {"attributes": {}}}
_json = msgspec.json.encode
BODIES = (
    _json([EVENT, SMALL, EVENT | {"source": "ios"}]),
    _json([EVENT, BROKEN, SMALL]),
    _json({"events": [EVENT, SMALL], "sentAt": "2026-11-24T10:00:00Z"}),
    _json(EVENT),
    b"\n".join(map(_json, (EVENT, SMALL, EVENT))),
    b"\xef\xbb\xbf" + _json(EVENT) + b"\r\n\r\n" + _json(BROKEN) + b"\r\nnot json\r\n",
    b"[]",
    b"[{},{}]",
)
SCHEMA = {
    "name": "purchase",
    "version": "1",
    "mode": "enforce",
    "unknownFields": "warn",
    "jsonSchema": {
        "type": "object",
        "properties": {
            "price": {"type": "number", "minimum": 0},
            "country": {"type": "string", "pattern": "^[A-Z]{2}$", "enum": ["DE", "FR"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["price"],
        "additionalProperties": False,
    },
}
RULES = Rules([schema_of(SCHEMA)], "warn", 3)
CASES = (
    Case(Sender("key", "site", frozenset(), public=False), Moment(RECEIVED_US), Bounds(), Rules([])),
    Case(
        Sender("key", "site", frozenset(), public=False), Moment(RECEIVED_US, RECEIVED_US - 5_000_000), Bounds(), RULES
    ),
    Case(
        Sender("page", "web", frozenset({"web"}), public=True),
        Moment(RECEIVED_US),
        Bounds(batch_events_max=3, event_bytes_max=600, depth_max=6, attributes_max=3, string_bytes_max=100),
        Rules([]),
    ),
)


class Decoder(NamedTuple):
    check: Callable[[Any], None]
    inputs: st.SearchStrategy[Any]


def refused_well(error: BadInput) -> None:
    """What an answer is made of: a stable code, a message, and all of it can be sent."""
    assert error.code.isupper() and str(error)
    status, _, body = problem_of(error, "r")
    assert 400 <= status < 500, (status, error.code)
    assert msgspec.json.decode(body)["code"] == error.code


# Requests


def body(raw: bytes) -> None:
    for case in CASES:
        whole = _judged(lambda: judge_whole(raw, case))  # noqa: B023
        apart = _judged(lambda: judge_apart(raw, case))  # noqa: B023
        if whole is not None and not isinstance(whole, BadInput):
            assert not isinstance(apart, BadInput), f"right as a whole, and in parts {apart}"
            assert (whole.n, whole.form, whole.sent_us, dict(whole.sources)) == (
                apart.n,
                apart.form,
                apart.sent_us,
                dict(apart.sources),
            )
            assert not apart.verdicts and not apart.notes
        try:
            judged = judge(raw, case)
        except BadInput as error:
            refused_well(error)
            continue
        assert sum(judged.sources.values()) == judged.n
        indices = [verdict.index for verdict in judged.verdicts]
        assert indices == sorted(set(indices)) and all(0 <= index < judged.n for index in indices)
        assert judge(raw, case) == judged
        if judged.n:
            _processed(_batch(raw, judged, case), judged)


def _judged(judging: Callable[[], Any]) -> Any:
    try:
        return judging()
    except BadInput as error:
        return error


def _batch(raw: bytes, judged: Any, case: Case) -> Batch:
    return Batch(
        batch_id=uuid.UUID(int=1).bytes,
        received_us=RECEIVED_US,
        n=judged.n,
        form=judged.form,
        body=raw,
        key_id="key",
        source=case.sender.source,
        id_base=uuid.UUID(int=7).bytes,
        sent_us=judged.sent_us,
        source_ip="192.0.2.9",
        verdicts=judged.verdicts,
        public=case.sender.public,
    )


def _processed(batch: Batch, judged: Any) -> None:
    """What the collector lets pass, every step of the processor takes; the rest is quarantined by its verdict."""
    assert decode_batch(encode_batch(batch)) == batch
    counts = {(minute_of(RECEIVED_US), label): n for label, n in judged.sources.items()}
    frame = Frame(1, batch.n, Kind.EVENTS, counts, [encode_batch(batch)], [batch.n])
    block, stats = blocks_of([frame], 0, LOG_ID)
    refused = block.quarantine["seq"].to_pylist() if block.quarantine.num_rows else []
    assert sorted(refused) == [1 + verdict.index for verdict in batch.verdicts], stats.rejects
    assert sorted([*block.events["seq"].to_pylist(), *refused]) == [*range(1, batch.n + 1)]


def packed(raw: bytes) -> None:
    for coding in ("gzip", "zstd"):
        try:
            expanded = expand(raw, coding, 1 << 20)
        except BadInput as error:
            refused_well(error)
        else:
            assert len(expanded) <= 1 << 20


def packed_well(raw: bytes) -> None:
    assert expand(gzip.compress(raw, 1) + gzip.compress(raw[:3], 9), "gzip", 1 << 20) == raw + raw[:3]
    for made in (zstandard.ZstdCompressor(), zstandard.ZstdCompressor(write_checksum=True, write_content_size=False)):
        assert expand(made.compress(raw) + made.compress(raw[:3]), "zstd", 1 << 20) == raw + raw[:3]


def head(parts: tuple[bytes, bytes, str]) -> None:
    raw, other, text = parts
    assert headers_of([(b"a", raw), (b"b", other), (b"a", other)])[b"a"] == raw + b", " + other
    sane_request_id(raw)
    for reading in (parameters_of, sent_us_of, idempotency_key_of):
        _refused_or(lambda: reading(raw))  # noqa: B023
    _refused_or(lambda: checked_limit(text))
    _refused_or(lambda: zone_of(text))
    _refused_or(lambda: networks_of([text]))
    trusted = networks_of(["10.0.0.0/8"])
    client_of("10.0.0.1", raw.decode("latin-1"), trusted)
    address_of(text)


def _refused_or(reading: Callable[[], Any]) -> Any:
    try:
        return reading()
    except BadInput as error:
        refused_well(error)
        return None


# The log

ENTRIES = [
    [Entry(b"first" * 40, 3, 100, {"web": 2, "ios": 1}), Entry(b"second", 1, 101, {"web": 1})],
    [Entry(bytes(range(256)), 5, 101, {"web": 5})],
    [Entry(b"again", 2, 102, {}, Kind.REPLAY)],
    [Entry(b"last" * 100, 4, 99, {"ios": 4})],
]
FRAMES: list[tuple[int, int, list[bytes]]] = []
SEGMENT = b""
for _entries in ENTRIES:
    _first = FRAMES[-1][0] + FRAMES[-1][1] if FRAMES else 1
    FRAMES.append((_first, sum(entry.n for entry in _entries), [entry.payload for entry in _entries]))
    SEGMENT += b"".join(encode_frame(LOG_ID, _first, _entries))
LAST_SEQ = FRAMES[-1][0] + FRAMES[-1][1] - 1
HEAD = Head(LOG_ID, 7, 1, 4444, 6, RECEIVED_US)


def frames(raw: bytes) -> None:
    """Whatever the bytes are: each seq is given once, and an entry that is given is one that was written."""
    seq = 1
    for item, _ in walk(lambda at, n: raw[at : at + n], LOG_ID, 0, len(raw), 1, LAST_SEQ, 100):
        assert item.first_seq == seq and item.n > 0
        seq = item.last_seq + 1
        if isinstance(item, Gap):
            continue
        (known,) = [each for each in FRAMES if each[0] == item.first_seq]
        item.counts()
        try:
            _, payloads = decode_body(item, raw[item.body_offset : item.end])
        except ValueError:
            continue
        assert (item.n, list(payloads)) == known[1:], "an entry that was never written"
    assert seq == LAST_SEQ + 1
    assert LAST_SEQ < SEQ_MAX


def segment_head(raw: bytes) -> None:
    found = decode_head(raw)
    assert found is None or found == HEAD, "a head that was never written"


MARKS = (Mark(5, 1, 4500), Mark(9, 1, 5000), Mark(12, 10, 4096))


def _mark_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        made = MarkFile(Path(folder) / "mark", LOG_ID, Disk(), writable=True)
        for mark in MARKS:
            made.write(mark)
        made.close()
        return (Path(folder) / "mark").read_bytes()


MARK_FILE = _mark_file()


def mark(raw: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(raw)
        made = MarkFile(Path(file.name), LOG_ID, Disk(), writable=False)
        try:
            assert made.read() in (None, *MARKS), "a mark that was never written"
        finally:
            made.close()


def batch(raw: bytes) -> None:
    """A payload that is no request, or another one, costs only itself: each seq ends in exactly one place."""
    frame = Frame(1, 3, Kind.EVENTS, {(minute_of(RECEIVED_US), "web"): 3}, [raw], [3])
    held, strange = unpack([frame])
    assert len(held) + len(strange) == 1
    block, _ = blocks_of([frame], 0, LOG_ID)
    seqs = [seq for table in (block.events, block.quarantine) for seq in table["seq"].to_pylist()]
    assert sorted(seqs) == [1, 2, 3], seqs


# Documents

QUERY: dict[str, Any] = {
    "metrics": ["revenue", {"name": "m", "aggregation": "sum", "field": "attributes.price", "events": ["purchase"]}],
    "timeRange": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-24T00:00:00Z", "interval": "1h"},
    "timeZone": "Europe/Berlin",
    "dimensions": ["attributes.country", "source"],
    "filters": [
        {"field": "name", "operator": "in", "value": ["purchase"]},
        {"any": [{"field": "attributes.price", "operator": "between", "value": [1, 2]}]},
        {"field": "time", "operator": "gte", "value": "2026-11-01T00:00:00Z"},
    ],
    "order": [{"by": "revenue", "descending": True}],
    "limit": 100,
}
RANGES = (
    QUERY["timeRange"],
    {"last": "7d", "offset": "1mo", "interval": "auto"},
    {"last": "1y", "interval": "1w"},
    {"start": "2026-03-29T00:30:00+01:00", "end": "2026-10-25T03:00:00+01:00", "interval": "1mo"},
)
PATCH = [
    {"op": "rename", "field": "attributes.prize", "to": "attributes.price"},
    {"op": "cast", "field": "attributes.price", "type": "number"},
    {"op": "set", "field": "attributes.country", "value": "DE"},
    {"op": "drop", "field": "attributes.nested.deep"},
    {"op": "addTime", "field": "timestamp", "type": "seconds"},
]
REPLAY = {
    "filter": {
        "code": ["TYPE_MISMATCH"],
        "source": "web",
        "seq": [1, 2],
        "timeRange": {"start": "2026-11-01T00:00:00Z"},
    },
    "patch": PATCH[:3],
    "dryRun": True,
}
DEFINITION = {
    "name": "revenue",
    "displayName": "Revenue",
    "events": ["purchase"],
    "filters": [{"field": "attributes.country", "operator": "eq", "value": "DE"}],
    "field": "attributes.price",
    "aggregation": "sum",
    "dimensions": ["attributes.country"],
    "unit": "EUR",
    "interval": "1h",
    "retention": "90d",
}
PROJECT = {"name": "shop", "timeZone": "Europe/Berlin", "retention": "90d", "lakeRetention": "2y"}
NOW_US = RECEIVED_US


def query(value: Any) -> None:
    _refused_or(lambda: parse_query(value))
    _refused_or(lambda: predicates_of(read(list[Filter], value.get("filters") if isinstance(value, dict) else value)))


def query_text(raw: bytes) -> None:
    _refused_or(lambda: decode_query(raw))


def time_range(value: Any) -> None:
    for zone in ("UTC", "Europe/Berlin", "Pacific/Apia"):
        found = _refused_or(lambda: resolve(read(RangeAsked, value), NOW_US, zone))  # noqa: B023
        if found is None:
            continue
        assert found.start_us < found.end_us
        if found.interval and (found.end_us - found.start_us) < 400 * 86_400_000_000 and found.interval[-1] != "m":
            edges = edges_of(found.start_us, found.end_us, found.interval, zone)
            assert [*edges] == sorted(set(edges)) and edges[0] <= found.start_us < edges[-1]


def definition(value: Any) -> None:
    _refused_or(lambda: read_definition(value))
    _refused_or(lambda: read_definition(value, inline=True))


def schema(pair: tuple[Any, bytes]) -> None:
    value, attributes = pair
    if not isinstance(value, dict):
        return
    made = _refused_or(lambda: parse_schema(value))
    if made is None:
        return
    rules = Rules([made], "warn")
    for text in (attributes, b"{}", b'{"price":"x","country":5}'):
        try:
            msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        for finding in rules.check(made.name, made.version, text):
            assert finding.code and finding.message.encode()


def patch(pair: tuple[Any, bytes]) -> None:
    value, text = pair
    made = _refused_or(lambda: parse_patch(value))
    if made is not None:
        patched = made.apply(text, PatchMoment(RECEIVED_US, None))
        msgspec.json.encode(msgspec.to_builtins(patched, builtin_types=(bytes,)))


def replay(value: Any) -> None:
    _refused_or(lambda: parse_replay(value, NOW_US))


def project(value: Any) -> None:
    if isinstance(value, dict):
        _refused_or(lambda: project_settings(value))


def json_text(raw: bytes) -> None:
    _refused_or(lambda: decoded(raw))


POSITIONS: tuple[tuple[Any, Any], ...] = (
    ((RECEIVED_US, 5), tuple[int, int]),
    (17, int),
    ("name", str),
    ((3, "a", 4), tuple[int, str, int]),
)


def cursor(text: str) -> None:
    for _, kind in POSITIONS:
        found = _refused_or(lambda: position_of(text, kind))  # noqa: B023
        if found is not None:
            assert position_of(cursor_of(found), kind) == found


SETTINGS = b"""[server]
host = "127.0.0.1"
port = 8080
[collect]
batch_events_max = 1000
body_bytes_max = "10MB"
[log]
age_hours_max = 72.5
[observe]
metrics_allow = ["10.0.0.0/8"]
"""


def settings_file(raw: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        Path(file.name).write_bytes(raw)
        made = _refused_or(lambda: config.load(file=Path(file.name), environ={}))
        if made is not None:
            assert all(setting.origin for setting in made.describe())


# Files

COMBINED = (
    b'83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a.png?x=1 HTTP/1.1" 200 203023 "http://s.e/" "Mozilla/5.0"\n'
    b'::1 - bob [29/Feb/2024:23:59:60 -0330] "-" 408 - "-" "-"\n'
    b'host x y [01/Jan/2026:00:00:00 +0000] "GET /\\xe9\\"q HTTP/1.0" 304 0\n'
)
CSV = (
    b"id,timestamp,name,price,note,country\r\n"
    b'1,2026-11-24T10:00:00Z,purchase,12.5,"a ""quoted"", two\nlines",DE\r\n'
    b"2,2026-11-24 10:00:00,view,,plain,\r\n"
    b'"unclosed,3\r\n'
)
FILES = {
    "combined": COMBINED,
    "ndjson": b"\n".join(map(_json, (EVENT, SMALL, BROKEN))) + b"\n\nnot json\n",
    "json": b" [\n" + b",\n".join(map(_json, (EVENT, SMALL, BROKEN))) + b"\n]\n",
    "csv": CSV,
}


def importer(pair: tuple[str, bytes]) -> None:
    """Each record is an event or a bad line, in order; reading on behind any of them gives the rest."""
    name, raw = pair
    with tempfile.NamedTemporaryFile(suffix=".x") as file:
        path = Path(file.name)
        path.write_bytes(raw)
        records, error = _records(name, path, 0, 0)
        for before, record in zip([None, *records], records, strict=False):
            assert before is None or (before.end <= record.end and before.last < record.line), (before, record)
            assert record.end <= len(raw) + 1
            _one_event(record)
        if len(records) > 1 and name != "csv":
            half = records[(len(records) - 1) // 2]
            rest, same = _records(name, path, half.end, half.last)
            assert rest == [each for each in records if each.line > half.line], "read on from the middle it differs"
            assert same == error


def _records(name: str, path: Path, offset: int, line: int) -> tuple[list[Record], str | None]:
    """As far as they go, and the code of what ended them."""
    found: list[Record] = []
    origin = Origin("file", "site", FORMATS[name].name)
    with Input(path) as source:
        try:
            for record in FORMATS[name].read(source, origin, offset, line):
                found.append(record)
        except BadInput as error:
            refused_well(error)
            return found, error.code
    return found, None


def _one_event(record: Record) -> None:
    """Sent to a collector it is exactly one event; a bad line is quarantined."""
    bad = isinstance(record.event, BadLine)
    text = quarantined_event(Origin("file", "site", "x"), record.line, record.event) if bad else record.event  # type: ignore[arg-type]
    assert isinstance(text, bytes) and b"\n" not in text
    judged = judge(b"[" + text + b"]", CASES[0])
    assert judged.n == 1
    assert not bad or len(judged.verdicts) == 1


_texts = st.text(max_size=60) | st.sampled_from([cursor_of(position) for position, _ in POSITIONS]).flatmap(
    lambda text: bytes_like(text.encode()).map(lambda raw: raw.decode("latin-1"))
)
_gzipped = gzip.compress(BODIES[0], 6, mtime=0)
_zstd = zstandard.ZstdCompressor(write_checksum=True).compress(BODIES[0] * 20)

DECODERS: Mapping[str, Decoder] = {
    "request body": Decoder(body, bytes_like(*BODIES)),
    "request body, twisted": Decoder(
        body, documents_like([EVENT, SMALL], {"events": [EVENT], "sentAt": "2026-11-24T10:00:00Z"}, EVENT).map(_json)
    ),
    "compressed body": Decoder(packed, bytes_like(_gzipped, _zstd, _gzipped + _gzipped, _zstd + _zstd)),
    "compressed body, whole": Decoder(packed_well, bytes_like(*BODIES)),
    "request head": Decoder(
        head,
        st.tuples(
            bytes_like(b"ack=durable&key=hw_in_x", b"2026-11-24T10:00:00Z", b"a%20b=%ff&ack=buffered"),
            bytes_like(b"for=192.0.2.1, 10.0.0.1"),
            st.text(max_size=80) | st.sampled_from(["Europe/Berlin", "10.0.0.0/8", "::1", "100"]),
        ),
    ),
    "log frames": Decoder(frames, bytes_like(SEGMENT)),
    "segment head": Decoder(segment_head, bytes_like(encode_head(HEAD))),
    "position mark": Decoder(mark, bytes_like(MARK_FILE)),
    "logged request": Decoder(
        batch, bytes_like(*(encode_batch(_batch(raw, judge(raw, CASES[0]), CASES[0])) for raw in BODIES[:2]))
    ),
    "query": Decoder(query, documents_like(QUERY)),
    "query text": Decoder(query_text, bytes_like(_json(QUERY))),
    "time range": Decoder(time_range, documents_like(*RANGES)),
    "metric definition": Decoder(definition, documents_like(DEFINITION)),
    "schema": Decoder(schema, st.tuples(documents_like(SCHEMA), bytes_like(_json(EVENT["data"]["attributes"])))),  # type: ignore[index]
    "patch": Decoder(patch, st.tuples(documents_like(PATCH), bytes_like(_json(EVENT), _json(BROKEN)))),
    "replay": Decoder(replay, documents_like(REPLAY)),
    "project": Decoder(project, documents_like(PROJECT)),
    "JSON": Decoder(json_text, bytes_like(_json(QUERY), b"[" * 2000)),
    "cursor": Decoder(cursor, _texts),
    "settings file": Decoder(settings_file, bytes_like(SETTINGS)),
    "import file": Decoder(
        importer, st.sampled_from([*FILES]).flatmap(lambda n: st.tuples(st.just(n), bytes_like(FILES[n])))
    ),
}
