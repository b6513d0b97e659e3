"""Frames as the collector and the log make them, for tests of the processor."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headwater.domain.batches import Batch, Form, Verdict, encode_batch
from headwater.domain.events import minute_of
from headwater.storage.log.base import Entry, Frame, Kind

RECEIVED_US = 1_795_514_400_000_000
LOG_ID = b"L" * 16


def event(n: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=n, version=4)),
        "type": "USER_ACTION",
        "name": "page_view",
        "source": "web",
        "timestamp": "2026-11-24T10:00:00.123456Z",
        "data": {"attributes": {"n": n}, "metadata": {"sessionId": f"s{n}"}},
    } | fields


def batch_of(
    events: Sequence[Any],
    *,
    form: Form = Form.ARRAY,
    body: bytes | None = None,
    received_us: int = RECEIVED_US,
    verdicts: Sequence[Verdict] = (),
    **fields: Any,
) -> Batch:
    """A batch whose events are JSON values, or bytes where they are not to be JSON."""
    texts = [event if isinstance(event, bytes) else msgspec.json.encode(event) for event in events]
    if body is None:
        match form:
            case Form.ARRAY:
                body = b"[" + b",".join(texts) + b"]"
            case Form.ENVELOPE:
                body = b'{"events":[' + b",".join(texts) + b"]}"
            case Form.SINGLE:
                body = texts[0]
            case Form.NDJSON:
                body = b"\n\n".join(texts) + b"\n"
    defaults: dict[str, Any] = {"key_id": "key", "source": "site", "id_base": uuid.UUID(int=7).bytes}
    return Batch(
        batch_id=uuid.uuid4().bytes,
        received_us=received_us,
        n=len(texts),
        form=form,
        body=body,
        verdicts=tuple(verdicts),
        **(defaults | fields),
    )


def sources_of(batch: Batch, events: Sequence[Any]) -> Counter[str]:
    """Ledger labels under which the collector would count these events."""
    judged = {verdict.index: verdict.source for verdict in batch.verdicts}
    sources = [event.get("source", batch.source) if isinstance(event, dict) else "(unknown)" for event in events]
    return Counter(judged.get(index, source) for index, source in enumerate(sources))


def entry_of(batch: Batch, labels: Mapping[str, int], kind: Kind = Kind.EVENTS) -> Entry:
    return Entry(encode_batch(batch), batch.n, minute_of(batch.received_us), dict(labels), kind)


def frame_of(*batches: Batch, first_seq: int = 1, counts: Mapping[str, int] | None = None, **fields: Any) -> Frame:
    """A frame of these batches; its counts by label, all in the minute of RECEIVED_US."""
    n = sum(batch.n for batch in batches)
    labels = {"web": n} if counts is None else counts
    return Frame(
        first_seq=first_seq,
        n=n,
        kind=fields.pop("kind", Kind.EVENTS),
        counts={(minute_of(RECEIVED_US), label): k for label, k in labels.items()},
        payloads=[encode_batch(batch) for batch in batches],
        entry_sizes=[batch.n for batch in batches],
        **fields,
    )
