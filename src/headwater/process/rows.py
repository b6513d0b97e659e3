"""Frames of the log ↔ rows of the lake. Back again they are frames that the pipeline takes as it took the first ones.

A rebuilt frame need not hold the same requests as the original, but every request is whole, with its seqs, verdicts,
times and ledger labels; so rows, ids, quarantine and counts come out the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from arro3.core import Table

from headwater.domain import wire
from headwater.domain.batches import Batch, Form, Verdict, encode_batch
from headwater.domain.errors import BadInput, Damaged
from headwater.domain.events import OTHER_SOURCE, UNKNOWN_SOURCE, minute_of
from headwater.process.decode import unpack
from headwater.process.identify import label_of
from headwater.process.refuse import Unreadable, unreadable
from headwater.process.rowbuild import RowBuild, Text
from headwater.process.work import Held
from headwater.storage.lake.base import COLUMNS
from headwater.storage.log.base import Frame, Kind

FRAME_EVENTS_MAX = 20_000
NO_BATCH = b""
"""`batch_id` of an entry that is no batch: `event` of its first row then holds the whole entry."""


class _Source(msgspec.Struct, gc=False, frozen=True):
    source: str | None = None


class _Entry(NamedTuple):
    """One request between lake rows and frame."""

    first_seq: int
    n: int
    kind: Kind
    counts: Counter[tuple[int, str]]
    payload: bytes


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_source = msgspec.json.Decoder(_Source)
_sources = msgspec.json.Decoder(list[_Source])


def rows_of(frames: Sequence[Frame]) -> Table:
    """Lake rows of every event in these frames, ascending by seq.

    0.9 µs an event in requests of 100, 5 in requests of one, and 0.3 ms for the call: give it thousands at a time.
    """
    building = RowBuild()
    ordered = [_add_frame(building, frame) for frame in frames]
    return building.table(ordered=all(ordered))


def frames_of(rows: Any) -> list[Frame]:
    """Frames of the requests in lake rows, which hold whole requests, ascending by seq.

    Raises Damaged where rows of a request are missing.
    """
    frames: list[Frame] = []
    group: list[_Entry] = []
    for entry in _entries(rows):
        if group and not _joins(group, entry):
            frames.append(_frame(group))
            group = []
        group.append(entry)
    if group:
        frames.append(_frame(group))
    return frames


def _add_frame(building: RowBuild, frame: Frame) -> bool:
    """False where an entry that is no batch had to go behind later ones."""
    held, strange = unpack([frame])
    readable: list[tuple[Held, Sequence[Text]]] = []
    for item in held:
        batch = item.batch
        texts = _texts(batch)
        if texts is None:
            # Kept as one piece, like what is no batch at all.
            payload = encode_batch(batch)
            strange.append(Unreadable(frame, item.first_seq, batch.n, payload, "its body can't be split"))
            continue
        building.add(batch, item.kind, item.first_seq)
        if len(item.labels) == 1:
            building.add_label(next(iter(item.labels)), batch.n)
        else:
            building.add_labels(_labels(item, texts))
        building.add_texts(texts)
        readable.append((item, texts))
    if not strange:
        return True
    _add_strange(building, strange, _counts_of(readable))
    return False


def _counts_of(readable: Iterable[tuple[Held, Sequence[Text]]]) -> Counter[tuple[int, str]]:
    counted: Counter[tuple[int, str]] = Counter()
    for held, texts in readable:
        minute = minute_of(held.batch.received_us)
        counted.update((minute, label) for label in _labels(held, texts))
    return counted


def _texts(batch: Batch) -> Sequence[Text] | None:
    """The text of each event; None where the body does not hold `batch.n`."""
    texts: Sequence[Text] | None = None
    if batch.form is Form.ARRAY:
        try:
            # The same as `wire.texts_of`, without the count of its commas, which guards against bodies that were never
            # accepted, and without a copy of each.
            texts = _raws.decode(wire.without_bom(batch.body))
        except wire.UNREADABLE:
            texts = None
    try:
        texts = wire.texts_of(batch) if texts is None else texts
    except BadInput:
        return None
    return texts if len(texts) == batch.n else None


def _texts_of(rows: dict[str, list[Any]]) -> list[bytes]:
    return [text.encode() if raw is None else raw for text, raw in zip(rows["event"], rows["event_bytes"], strict=True)]


def _labels(held: Held, texts: Sequence[Text]) -> Sequence[str]:
    """The ledger's word for each event's source. A frame that counts under one label needs no look into the events."""
    batch = held.batch
    if len(held.labels) == 1:
        return [*held.labels] * batch.n
    sources = None if batch.verdicts else _sources_of(batch)
    if sources is None:
        judged = {verdict.index: verdict.source for verdict in batch.verdicts}
        sources = [
            judged[index] if index in judged else _source_of(text, batch.source) for index, text in enumerate(texts)
        ]
    if held.labels.issuperset(sources):
        return sources
    return [label_of(source, held.labels) for source in sources]


def _sources_of(batch: Batch) -> list[str] | None:
    """Of all events in one call (0.4 µs an event); None where one of them can't be read so."""
    if batch.form is not Form.ARRAY:
        return None
    try:
        found = _sources.decode(wire.without_bom(batch.body))
    except wire.UNREADABLE:
        return None
    default = batch.source
    return [default if each.source is None else each.source for each in found]


def _source_of(text: Text, default: str) -> str:
    try:
        found = _source.decode(text).source
    except wire.UNREADABLE:
        peeked = wire.peek(bytes(text))
        return default if not peeked.has_source else peeked.source or UNKNOWN_SOURCE
    return default if found is None else found


def _add_strange(building: RowBuild, strange: Sequence[Unreadable], counted: Counter[tuple[int, str]]) -> None:
    """Rows of entries that are no batch; `counted` as `refuse.unreadable` wants it."""
    owners = {seq: entry for entry in strange for seq in range(entry.first_seq, entry.first_seq + entry.n)}
    for reject in unreadable(strange, counted):
        entry = owners[reject.seq]
        batch = Batch(
            batch_id=NO_BATCH,
            received_us=reject.received_us,
            n=1,
            form=Form.SINGLE,
            body=b"",
            key_id="",
            source=reject.source,
            id_base=NO_BATCH,
            verdicts=(Verdict(0, reject.code, reject.detail, reject.source),),
        )
        building.add(batch, entry.frame.kind, reject.seq, reject.seq - entry.first_seq)
        building.add_label(reject.source_label, 1)
        building.add_text(reject.event, entry.payload if reject.seq == entry.first_seq else None)


def _entries(rows: Any) -> Iterator[_Entry]:
    table = Table.from_arrow(rows)
    columns = {name: table[name].to_pylist() for name in COLUMNS if name != "received_on"}
    starts = [place for place, index in enumerate(columns["batch_index"]) if index == 0]
    if table.num_rows and (not starts or starts[0]):
        raise Damaged(f"lake: rows begin inside a request, at seq {columns['seq'][0]}")
    for start, end in zip(starts, [*starts[1:], table.num_rows], strict=True):
        yield _entry({name: column[start:end] for name, column in columns.items()}, end - start)


def _entry(rows: dict[str, list[Any]], n: int) -> _Entry:
    first = rows["seq"][0]
    if rows["seq"] != [*range(first, first + n)] or rows["batch_index"] != [*range(n)]:
        raise Damaged(f"lake: rows of the request at seq {first} are missing")
    kind = Kind(rows["kind"][0])
    counts: Counter[tuple[int, str]] = Counter()
    if kind is Kind.EVENTS:
        counts.update(zip(map(minute_of, rows["received_us"]), rows["source_label"], strict=True))
    strange = rows["batch_id"][0] == NO_BATCH
    payload = _texts_of(rows)[0] if strange else encode_batch(_batch(rows, n))
    return _Entry(first, n, kind, counts, payload)


def _batch(rows: dict[str, list[Any]], n: int) -> Batch:
    form, body = _body(_texts_of(rows))
    verdicts = [
        Verdict(index, code, rows["detail"][index], rows["verdict_source"][index])
        for index, code in enumerate(rows["code"])
        if code is not None
    ]
    return Batch(
        batch_id=rows["batch_id"][0],
        received_us=rows["received_us"][0],
        n=n,
        form=form,
        body=body,
        key_id=rows["key_id"][0],
        source=rows["source_default"][0],
        id_base=rows["id_base"][0],
        recognisable=rows["recognisable"][0],
        public=rows["public"][0],
        sent_us=rows["sent_us"][0],
        source_ip=rows["source_ip"][0],
        user_agent=rows["user_agent"][0],
        verdicts=tuple(verdicts),
        revision=rows["revision"][0],
        replays_seq=() if rows["replays_seq"][0] is None else tuple(rows["replays_seq"]),
        suppressed=tuple(index for index, yes in enumerate(rows["suppressed"]) if yes),
    )


def _body(texts: Sequence[bytes]) -> tuple[Form, bytes]:
    """A body that splits into exactly these texts.

    Line by line works for anything that holds no line end and is not empty; what does came from an array, and will
    come from one again. The byte order mark keeps one that the first text may begin with.
    """
    if all(text and b"\n" not in text for text in texts):
        return Form.NDJSON, wire.BOM + b"\n".join(texts)
    return Form.ARRAY, b"[" + b",".join(texts) + b"]"


def _joins(group: Sequence[_Entry], entry: _Entry) -> bool:
    """Whether `entry` may share a frame with `group`.

    A frame's labels tell which sources keep their own: a request that has events under OTHER_SOURCE stands alone, so
    that no neighbour's label becomes that of its events.
    """
    last = group[-1]
    alone = any(label == OTHER_SOURCE for each in (group[0], entry) for _, label in each.counts)
    return (
        not alone
        and entry.kind == last.kind
        and entry.first_seq == last.first_seq + last.n
        and entry.first_seq + entry.n - group[0].first_seq <= FRAME_EVENTS_MAX
    )


def _frame(group: Sequence[_Entry]) -> Frame:
    return Frame(
        first_seq=group[0].first_seq,
        n=sum(entry.n for entry in group),
        kind=group[0].kind,
        counts=_sum(entry.counts for entry in group),
        payloads=[entry.payload for entry in group],
        entry_sizes=[entry.n for entry in group],
    )


def _sum(counts: Iterable[Counter[tuple[int, str]]]) -> dict[tuple[int, str], int]:
    total: Counter[tuple[int, str]] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
