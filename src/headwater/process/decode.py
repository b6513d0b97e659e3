"""Frames of the log → requests → rows: where bytes become columns, and the collector's verdicts become rejects."""

from collections.abc import Callable, Sequence

import msgspec

from headwater.domain import wire
from headwater.domain.batches import Batch, Form, decode_batch
from headwater.domain.errors import BadInput
from headwater.process.refuse import STEP_FAILED, Unreadable, broken, judged
from headwater.process.work import Held, Reject, Row, Work
from headwater.storage.log.base import Frame


class _Envelope(msgspec.Struct, gc=False):
    events: list[Row]


_rows = msgspec.json.Decoder(list[Row])
_envelope = msgspec.json.Decoder(_Envelope)
_row = msgspec.json.Decoder(Row)

_ROWS_OF: dict[Form, Callable[[bytes], list[Row]]] = {
    Form.ARRAY: _rows.decode,
    Form.ENVELOPE: lambda text: _envelope.decode(text).events,
    Form.SINGLE: lambda text: [_row.decode(text)],
    Form.NDJSON: lambda text: [*map(_row.decode, wire.lines_of(text))],
}


def unpack(frames: Sequence[Frame]) -> tuple[list[Held], list[Unreadable]]:
    """The requests in these frames, and the entries that are none."""
    held: list[Held] = []
    unreadable: list[Unreadable] = []
    for frame in frames:
        labels = frozenset([source for _, source in frame.counts])
        first = frame.first_seq
        for payload, n in zip(frame.payloads, frame.entry_sizes, strict=True):
            try:
                batch = decode_batch(payload)
                if batch.n != n:
                    raise ValueError(f"the batch says {batch.n} events, the log {n}")
                held.append(Held(batch, first, frame.kind, labels))
            except (msgspec.MsgspecError, ValueError) as error:
                unreadable.append(Unreadable(frame, first, n, bytes(payload), str(error)))
            first += n
    return held, unreadable


def decode(held: Sequence[Held]) -> tuple[Work, list[Reject]]:
    """Rows of every event that the collector let pass; the rest as rejects."""
    rows: list[Row] = []
    owner: list[int] = []
    seqs: list[int] = []
    rejects: list[Reject] = []
    for k, item in enumerate(held):
        batch = item.batch
        n = batch.n
        found = _whole(batch)
        if found is not None and not batch.verdicts:
            rows += found
            owner += [k] * n
            seqs += range(item.first_seq, item.first_seq + n)
            continue
        places, found, refused = _apart(item, found)
        rejects += refused
        rows += found
        owner += [k] * len(places)
        seqs += [item.first_seq + place for place in places]
    return Work(held, rows, owner, seqs, {}), rejects


def _whole(batch: Batch) -> list[Row] | None:
    """All events at once; None where one of them can't be read."""
    try:
        rows = _ROWS_OF[batch.form](wire.without_bom(batch.body))
    except wire.UNREADABLE:
        return None
    return rows if len(rows) == batch.n else None


def _apart(held: Held, found: Sequence[Row] | None) -> tuple[list[int], list[Row], list[Reject]]:
    """Places and rows of the good events and the rejects of a batch in which some are refused or can't be read."""
    batch = held.batch
    try:
        texts = wire.texts_of(batch)
        if len(texts) != batch.n:
            raise BadInput(f"the body holds {len(texts)} events, its batch says {batch.n}")
    except BadInput as error:
        texts = [batch.body] + [b""] * (batch.n - 1)
        bad = [broken(held, index, "decode", "BATCH_UNREADABLE", error, text) for index, text in enumerate(texts)]
        return [], [], bad
    rejects = judged(held, texts)
    refused = {verdict.index for verdict in batch.verdicts}
    places = [index for index in range(batch.n) if index not in refused]
    if found is not None:
        return places, [found[index] for index in places], rejects
    rows: list[Row] = []
    good: list[int] = []
    for index in places:
        try:
            rows.append(_row.decode(texts[index]))
            good.append(index)
        except wire.UNREADABLE as error:
            rejects.append(broken(held, index, "decode", STEP_FAILED, error, texts[index]))
    return good, rows, rejects
