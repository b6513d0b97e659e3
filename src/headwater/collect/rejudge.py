"""Quarantined events, patched and judged again as if they came now from whom and when they came. Pure.

They keep who sent them, when they were received and what their client's clock said, and the id they were given; the
schemas and limits are those of today. What passes goes back to the log request by request, as it came.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge, judge_whole
from headwater.collect.validate import Moment, Sender
from headwater.domain import patches
from headwater.domain.batches import Batch, Form, new_uuid7
from headwater.domain.events import UNKNOWN_SOURCE
from headwater.domain.patches import PATCH_FAILED, Patch, Patched
from headwater.domain.schemas import Rules

EXAMPLE_CHARACTERS_MAX = 300


class Quarantined(NamedTuple):
    """`domain.plans.OPEN_FIELDS`."""

    seq: int
    id: str | None
    source: str
    code: str
    received_us: int
    event: str
    batch_id: str | None
    first_seq: int | None
    key_id: str | None
    sent_us: int | None
    source_ip: str | None
    user_agent: str | None


class Tally(msgspec.Struct):
    """What a replay has found so far; grows page by page."""

    judged: int = 0
    good: int = 0
    unchanged: int = 0
    """Judged ones that the patch left as they are: not one of its operations had anything to do."""
    bad: dict[str, int] = {}
    """By code."""
    examples: dict[str, dict[str, Any]] = {}
    """The first of each code: its seq and what is wrong."""

    def add_bad(self, code: str, seq: int, detail: str) -> None:
        self.bad[code] = self.bad.get(code, 0) + 1
        if code not in self.examples:
            self.examples[code] = {"seq": seq, "detail": detail[:EXAMPLE_CHARACTERS_MAX]}

    def still_bad(self) -> list[dict[str, Any]]:
        """As on the wire, most first."""
        most_first = sorted(self.bad.items(), key=lambda item: (-item[1], item[0]))
        return [{"code": code, "count": count, "example": self.examples[code]} for code, count in most_first]


class Ready(NamedTuple):
    """Events of one request that pass, ascending by seq."""

    first: Quarantined
    sender: Sender
    texts: list[bytes]
    seqs: list[int]


class _Outline(msgspec.Struct, gc=False):
    source: Raw | UnsetType = UNSET


_outline = msgspec.json.Decoder(_Outline)
_encode = msgspec.json.Encoder().encode


class Rejudge:
    """One replay's way to judge: the same patch for all, each request's own sender."""

    def __init__(self, patch: Patch, sender_of: Callable[[str], Sender | None], bounds: Bounds) -> None:
        """`sender_of` knows a key by its id, revoked ones too."""
        self.patch = patch
        self.tally = Tally()
        self._sender_of = sender_of
        self._senders: dict[str, Sender] = {}
        self._bounds = bounds

    def page(self, rows: Sequence[Quarantined], rules: Rules) -> list[Ready]:
        """What of these passes; the tally tells the rest. 10 µs an event, more where requests were small."""
        groups = [ready for _, group in groupby(rows, key=_request_of) for ready in self._patched(list(group))]
        self.tally.judged += len(rows)
        if not self._all_pass(groups, rules):
            groups = [passed for each in groups if (passed := self._judged(each, rules)).texts]
        self.tally.good += sum(len(each.texts) for each in groups)
        return groups

    def _patched(self, rows: list[Quarantined]) -> Iterator[Ready]:
        """The events of one request as they are to be judged, in pieces that may be one batch."""
        first = rows[0]
        sender = self._sender(first)
        moment = patches.Moment(first.received_us, first.sent_us)
        texts: list[bytes] = []
        seqs: list[int] = []
        for row in rows:
            came = row.event.encode()
            patched = self.patch.apply(came, moment)
            if patched.fault is not None:
                self.tally.add_bad(PATCH_FAILED if patched.is_object else row.code, row.seq, patched.fault)
                continue
            self.tally.unchanged += not patched.changed
            texts.append(_identified(patched, came, row, sender))
            seqs.append(row.seq)
        for at in range(0, len(texts), self._bounds.batch_events_max):
            end = at + self._bounds.batch_events_max
            yield Ready(first, sender, texts[at:end], seqs[at:end])

    def _all_pass(self, groups: Sequence[Ready], rules: Rules) -> bool:
        """One verdict for a page of many small requests. What is not too far ahead of the earliest receipt is too far
        ahead of none; where times are judged otherwise too, each request is asked for itself."""
        senders = {each.sender for each in groups}
        texts = [text for each in groups for text in each.texts]
        if len(senders) != 1 or not texts or len(texts) > self._bounds.batch_events_max:
            return False
        (sender,) = senders
        if sender.public or any(each.first.sent_us is not None for each in groups):
            return False
        earliest = Moment(min(each.first.received_us for each in groups))
        return judge_whole(_array(texts), Case(sender, earliest, self._bounds, rules)) is not None

    def _judged(self, ready: Ready, rules: Rules) -> Ready:
        """Without what is still wrong."""
        moment = Moment(ready.first.received_us, ready.first.sent_us)
        verdicts = judge(_array(ready.texts), Case(ready.sender, moment, self._bounds, rules)).verdicts
        if not verdicts:
            return ready
        for verdict in verdicts:
            self.tally.add_bad(
                verdict.code, ready.seqs[verdict.index], verdict.detail.replace(f"$[{verdict.index}]", "$", 1)
            )
        bad = {verdict.index for verdict in verdicts}
        places = [place for place in range(len(ready.texts)) if place not in bad]
        return ready._replace(
            texts=[ready.texts[place] for place in places], seqs=[ready.seqs[place] for place in places]
        )

    def _sender(self, row: Quarantined) -> Sender:
        key_id = row.key_id or ""
        if key_id not in self._senders:
            known = self._sender_of(key_id) if key_id else None
            self._senders[key_id] = known or Sender(key_id, row.source, frozenset(), public=False)
        return self._senders[key_id]


def batch_of(ready: Ready, revision: int) -> Batch:
    """The request again, with what is left of it. Its events name their ids, so none is derived anew."""
    first = ready.first
    batch_id = bytes.fromhex(first.batch_id.replace("-", "")) if first.batch_id else new_uuid7(first.received_us).bytes
    return Batch(
        batch_id=batch_id,
        received_us=first.received_us,
        n=len(ready.texts),
        form=Form.ARRAY,
        body=_array(ready.texts),
        key_id=ready.sender.key_id,
        source=ready.sender.source,
        id_base=batch_id,
        sent_us=first.sent_us,
        source_ip=first.source_ip,
        user_agent=first.user_agent,
        revision=revision,
        replays_seq=tuple(ready.seqs),
        public=ready.sender.public,
    )


def _request_of(row: Quarantined) -> Any:
    return row.first_seq, row.key_id, row.received_us, row.sent_us


def _array(texts: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


def _identified(patched: Patched, came: bytes, row: Quarantined, sender: Sender) -> bytes:
    """The event with what its request gave it and a new one would not: its id, and the source it had by default."""
    given: dict[str, str] = {}
    if "id" not in patched.fields and row.id is not None:
        given["id"] = row.id
    if "source" not in patched.fields and row.source not in (sender.source, UNKNOWN_SOURCE) and not _names_source(came):
        given["source"] = row.source
    if not given:
        return patched.text
    inside = patched.text.strip()[1:].lstrip()
    return _encode(given)[:-1] + (b"" if inside.startswith(b"}") else b",") + inside


def _names_source(text: bytes) -> bool:
    return _outline.decode(text).source is not UNSET
