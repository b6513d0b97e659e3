"""A body, judged: how many events, whose, which of them are quarantined and why, what their sender is told.

    decode    the whole body into events at once        else event by event
    validate  limits, names, times, sources             by columns, else event by event
    enforce   declared schemas                          only where there are some

Nothing here does IO or knows HTTP: the same for the handler, an import and a test.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from headwater.collect.bounds import Bounds
from headwater.collect.decode import StrictEvent, sent_us_of, strict, unknown_fields, whole
from headwater.collect.enforce import findings_on, keep_all
from headwater.collect.explain import why_not
from headwater.collect.validate import Moment, Sender, all_right, size_verdict, verdict_on
from headwater.domain import wire
from headwater.domain.batches import Form, Verdict
from headwater.domain.errors import BadInput
from headwater.domain.events import OTHER_SOURCE, UNKNOWN_SOURCE, Event
from headwater.domain.schemas import Finding, Rules


class Note(msgspec.Struct, frozen=True, gc=False):
    """Something told of an event that is not plainly accepted."""

    index: int
    id: uuid.UUID | None
    """Its own, as far as that can be read."""
    quarantine: bool
    code: str
    detail: str


class Judged(NamedTuple):
    n: int
    form: Form
    sent_us: int | None
    sources: Mapping[str, int]
    """Events by source, defaults filled in; a broken one's is that of its verdict."""
    verdicts: tuple[Verdict, ...] = ()
    notes: Sequence[Note] = ()


class Case(NamedTuple):
    """All that a verdict depends on besides the body."""

    sender: Sender
    moment: Moment
    bounds: Bounds
    rules: Rules
    is_label: Callable[[str], bool] = frozenset[str]().__contains__
    """Does the ledger know this source already? A stranger can't make it know more."""


def judge(body: bytes, case: Case) -> Judged:
    """Judge a body. Raises BadInput where nothing in it can be decoded, TooLarge for too many events."""
    return judge_whole(body, case) or judge_apart(body, case)


def judge_whole(body: bytes, case: Case) -> Judged | None:
    """The verdict on a body in which every event is right and nothing is to be told; else None. 1.2 µs an event."""
    found = whole(body, case.bounds.batch_events_max)
    if found is None or len(found.events) > case.bounds.batch_events_max:
        return None
    moment = _moment(case.moment, found.sent_at)
    if not all_right(body, found, case.sender, moment, case.bounds) or not keep_all(found.events, case.rules):
        return None
    return Judged(len(found.events), found.form, moment.sent_us, _sources_of(found.events, case.sender.source))


def judge_apart(body: bytes, case: Case) -> Judged:
    """Cut the body into events and judge each for itself: 3-20 µs an event.

    Raises BadInput (MALFORMED_JSON) where not one of them is JSON, TooLarge (TOO_MANY_EVENTS).
    """
    parts = wire.split(body, case.bounds.batch_events_max)
    case = case._replace(moment=_moment(case.moment, parts.sent_at))
    verdicts: list[Verdict] = []
    notes: list[Note] = []
    sources: Counter[str] = Counter()
    for index, text in enumerate(parts.texts):
        source, told = _judge_one(text, index, case)
        sources[source] += 1
        notes += told
        verdicts += [Verdict(index, note.code, note.detail, source) for note in told if note.quarantine]
    if verdicts and len(verdicts) == len(parts.texts) and all(v.code == "MALFORMED_JSON" for v in verdicts):
        raise _nothing_decodes(body, parts.form, verdicts[0].detail)
    return Judged(len(parts.texts), parts.form, case.moment.sent_us, sources, tuple(verdicts), notes)


def _judge_one(text: bytes, index: int, case: Case) -> tuple[str, list[Note]]:
    """The source that an event counts under, and what is to be told: one fault, or any number of warnings."""
    event, fault = _read(text, index, case.bounds)
    warnings: list[tuple[str, str]] = []
    if event is not None:
        fault = verdict_on(event, index, case.sender, case.moment, case.bounds)
        if fault is None:
            fault, warnings = _enforce(event, index, case.rules)
    if fault is None:
        assert event is not None
        if not isinstance(event, StrictEvent):
            warnings += [("UNKNOWN_FIELD", f"$[{index}]{path}: not a field of events") for path in unknown_fields(text)]
        own = None if event.id is UNSET else event.id
        source = case.sender.source if event.source is UNSET else event.source
        return source, [Note(index, own, False, code, detail) for code, detail in warnings]
    peeked = wire.peek(text)
    source = (peeked.source or UNKNOWN_SOURCE) if peeked.has_source else case.sender.source
    if case.sender.sources and source not in case.sender.sources and not case.is_label(source):
        source = source if source == UNKNOWN_SOURCE else OTHER_SOURCE
    return source, [Note(index, peeked.id, True, *fault)]


def _read(text: bytes, index: int, bounds: Bounds) -> tuple[Event | None, tuple[str, str] | None]:
    """The event (a StrictEvent where it has no unknown fields), or why there is none."""
    fault = size_verdict(text, index, bounds)
    if fault is not None:
        return None, fault
    for decode in (strict.decode, wire.decode_event):
        try:
            text.decode()
            return decode(text), None
        except wire.UNREADABLE:
            continue
    return None, why_not(text, index, wire.decode_event)


def _enforce(event: Event, index: int, rules: Rules) -> tuple[tuple[str, str] | None, list[tuple[str, str]]]:
    """The first fault against the declared schema, and all warnings."""
    if not rules.applies:
        return None, []
    warnings = []
    for finding in findings_on(event, rules):
        told = finding.code, f"$[{index}]{_place(finding)}: {finding.message}"
        if finding.quarantine:
            return told, []
        warnings.append(told)
    return None, warnings


def _place(finding: Finding) -> str:
    match finding.code:
        case "UNKNOWN_EVENT":
            return ".name"
        case "UNKNOWN_VERSION":
            return ".version"
        case _:
            return f".data.attributes{finding.path}"


def _sources_of(events: Sequence[Event], default: str) -> dict[str, int]:
    names: set[Any] = {event.source for event in events}
    if len(names) == 1:
        # Nearly always. Counting costs 60 ns an event, looking 20.
        only = names.pop()
        return {default if only is UNSET else only: len(events)}
    counts: dict[Any, int] = Counter([event.source for event in events])
    if UNSET in counts:
        counts[default] = counts.get(default, 0) + counts.pop(UNSET)
    return counts


def _moment(moment: Moment, sent_at: bytes | None) -> Moment:
    """What an envelope says of the client's clock goes before what the header said."""
    if sent_at is None:
        return moment
    return msgspec.structs.replace(moment, sent_us=sent_us_of(sent_at, "$.sentAt"))


def _nothing_decodes(body: bytes, form: Form, first: str) -> BadInput:
    hint = 'send an event, an array of events, {"events": […]} or one event a line'
    if body.startswith(b"\x1f\x8b"):
        hint = "this looks like gzip; say so with Content-Encoding: gzip"
    elif body.startswith(b"\x28\xb5\x2f\xfd"):
        hint = "this looks like zstd; say so with Content-Encoding: zstd"
    return BadInput(
        f"nothing in the body is JSON: {first}", code="MALFORMED_JSON", path=first.partition(":")[0], hint=hint
    )
