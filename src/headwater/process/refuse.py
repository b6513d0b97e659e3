"""Events that become quarantine rows: judged by the collector, broken in a step, or in a request that can't be read."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from headwater.domain import wire
from headwater.domain.events import MINUTE_US, UNKNOWN_SOURCE
from headwater.process.identify import derived_text, label_of
from headwater.process.work import Held, Reject
from headwater.storage.log.base import Frame

STEP_FAILED = "STEP_FAILED"
BATCH_UNREADABLE = "BATCH_UNREADABLE"


class Unreadable(msgspec.Struct, frozen=True):
    """An entry of the log that is no batch."""

    frame: Frame
    first_seq: int
    n: int
    payload: bytes
    reason: str


def judged(held: Held, texts: Sequence[bytes]) -> list[Reject]:
    """The collector's verdicts on a batch, of which `texts` are the events as they came."""
    suppressed = frozenset(held.batch.suppressed)
    return [
        _reject(
            held,
            verdict.index,
            texts[verdict.index],
            verdict.source,
            step="collect",
            code=verdict.code,
            detail=verdict.detail,
            suppressed=verdict.index in suppressed,
        )
        for verdict in held.batch.verdicts
    ]


def broken(held: Held, index: int, step: str, code: str, error: Exception | str, text: bytes) -> Reject:
    """An event on which the step of that name broke; `text` is the event as it came."""
    found = wire.peek(text)
    source = held.batch.source if not found.has_source else found.source or UNKNOWN_SOURCE
    return _reject(held, index, text, source, step=step, code=code, detail=f"{step}: {error}")


def unreadable(entries: Iterable[Unreadable], counted: Counter[tuple[int, str]]) -> list[Reject]:
    """Every event of these entries, under what their frames' headers leave over once `counted` is taken off.

    `counted` are the events of the same frames that could be read, by (minute, label): so the ledger still balances.
    The entry's bytes are kept once, with its first event.
    """
    rejects: list[Reject] = []
    left: dict[int, list[tuple[int, str]]] = {}
    for entry in entries:
        frame = entry.frame
        if frame.first_seq not in left:
            left[frame.first_seq] = sorted((Counter(dict(frame.counts)) - counted).elements())
        text = entry.payload.decode("utf-8", "backslashreplace")
        for seq in range(entry.first_seq, entry.first_seq + entry.n):
            counts = left[frame.first_seq]
            minute, label = counts.pop() if counts else (0, UNKNOWN_SOURCE)
            rejects.append(
                Reject(
                    seq=seq,
                    id=None,
                    source=UNKNOWN_SOURCE,
                    source_label=label,
                    name=None,
                    code=BATCH_UNREADABLE,
                    step="unpack",
                    detail=f"unpack: {entry.reason}; the bytes are kept with seq {entry.first_seq}",
                    suppressed=False,
                    received_us=minute * MINUTE_US,
                    replays_seq=None,
                    event=text if seq == entry.first_seq else "",
                )
            )
    return rejects


def _reject(
    held: Held,
    index: int,
    text: bytes,
    source: str,
    *,
    step: str,
    code: str,
    detail: str,
    suppressed: bool = False,
) -> Reject:
    batch = held.batch
    found = wire.peek(text)
    return Reject(
        seq=held.first_seq + index,
        id=found.id.hex if found.id else derived_text(batch.id_base, index),
        source=source,
        source_label=label_of(source, held.labels),
        name=found.name,
        code=code,
        step=step,
        detail=detail,
        suppressed=suppressed,
        received_us=batch.received_us,
        replays_seq=batch.replays_seq[index] if batch.replays_seq else None,
        event=text.decode("utf-8", "backslashreplace"),
    )
