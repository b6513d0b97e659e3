"""Lists of stored and quarantined events: parameters of an address → plan, and rows → what goes out, by cursor."""

import re
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from headwater.domain.cursors import LIMIT_DEFAULT, checked_limit, cursor_of, position_of
from headwater.domain.errors import BadInput
from headwater.domain.events import text_of
from headwater.domain.filters import Filter, predicates_of
from headwater.domain.patches import value_at
from headwater.domain.plans import (
    EVENT_FIELDS,
    QUARANTINE_FIELDS,
    STATES,
    EventById,
    EventsPage,
    QuarantineById,
    QuarantineGroups,
    QuarantinePage,
    Table,
)
from headwater.domain.reading import decoded, did_you_mean, read
from headwater.domain.timerange import RangeAsked, resolve
from headwater.domain.values import shown
from headwater.engine.query.points import RANGE_FIELDS, add_range, range_field, unknown_parameter

Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Instant = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000_000, lt=253_402_300_800_000_000)]
"""Microseconds in the years 1 to 9999: a cursor comes from outside and may hold anything."""
GROUP_WORDS = ("code", "source", "name")
_STEP = r"\.([A-Za-z_$][A-Za-z0-9_$-]*)|\[(\d+)\]|\[\"((?:[^\"\\\\]|\\\\.)*)\"\]"
_PATH = re.compile(rf"\$\[\d+\](?P<path>(?:{_STEP})+)")
_STEPS = re.compile(_STEP)
_RANGE = ("timeRange", *(each for each in RANGE_FIELDS if each != "interval"))


class EventMetadataOut(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    source_ip: str | None = None
    user_agent: str | None = None
    session_id: str | None = None
    batch_id: str | None = None
    """As the client sent it."""


class EventDataOut(msgspec.Struct, frozen=True):
    attributes: msgspec.Raw
    metadata: EventMetadataOut


class EventOut(msgspec.Struct, frozen=True, rename="camel"):
    """The mission's Event as stored. `timestamp` as the client sent it; `occurredAt` is corrected, what charts use."""

    id: str
    type: str
    name: str
    source: str
    actor: str | None
    timestamp: str
    data: EventDataOut
    version: str
    processing_status: str
    occurred_at: str
    received_at: str
    batch_id: str | None
    """The server's, of the request that brought it."""
    log_offset: int


class QuarantinedOut(msgspec.Struct, frozen=True, rename="camel"):
    """`event` is the event as it came: JSON, or text where it is none.

    `path` is what the detail names, from the event on, and `value` stands there; left out where the detail names none,
    or a place that the event does not have.
    """

    seq: int
    id: str | None
    source: str
    name: str | None
    code: str
    step: str
    detail: str
    received_at: str
    replays_seq: int | None
    """The quarantined event that this one was made of by a replay."""
    event: Any
    state: str
    """`open`, or `replayed`: then `outcome` (stored, duplicate, removed, quarantined) and `replayedBy`, its number."""
    outcome: str | UnsetType = UNSET
    replayed_by: int | UnsetType = UNSET
    path: str | UnsetType = UNSET
    value: Any = UNSET


class Page(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[Any]
    next_cursor: str | None


class QuarantineGroup(msgspec.Struct, frozen=True, rename="camel"):
    """Fields that were not grouped by are left out."""

    count: int
    first_received_at: str
    last_received_at: str
    example_seq: int
    example_detail: str
    code: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET


def parse_events_parameters(parameters: Sequence[tuple[str, str]], now_us: int) -> EventsPage:
    """`name`, `actor`, `filter` (JSON: one condition or a list of them; may repeat), a time range, `limit`, `cursor`.

    Asks for one row more than the page holds, so that its end is known. Raises BadInput.
    """
    known = ("name", "actor", "filter", *_RANGE, "limit", "cursor")
    given, span, filters = _given(parameters, known)
    asked = [Filter(field=each, operator="eq", value=given[each]) for each in ("name", "actor") if each in given]
    start, end = _instants(span, now_us)
    return EventsPage(
        limit=_limit(given) + 1,
        where=(*predicates_of(asked), *predicates_of(filters, "filter")),
        start_us=start,
        end_us=end,
        before=position_of(given.get("cursor"), tuple[Instant, Seq]),
    )


def parse_event_id(text: str) -> EventById:
    return EventById(uuid_text(text))


def parse_quarantine_parameters(
    parameters: Sequence[tuple[str, str]], now_us: int
) -> QuarantinePage | QuarantineGroups:
    """`code`, `source`, `name`, `step`, `state`, a time range (of receipt), `limit`; `groupBy` or `cursor`.

    Raises BadInput.
    """
    given, span, _ = _given(parameters, ("groupBy", *GROUP_WORDS, "step", "state", *_RANGE, "limit", "cursor"))
    start, end = _instants(span, now_us)
    state = given.get("state", "open")
    if state not in STATES:
        hint = did_you_mean(state, STATES)
        raise BadInput(
            f"state: unknown word {shown(state)}; {hint}", code="INVALID_VALUE", path="state", value=state, hint=hint
        )
    conditions = {word: given.get(word) for word in (*GROUP_WORDS, "step")}
    if "groupBy" in given:
        words = [each for each in given["groupBy"].split(",") if each]
        for word in words:
            if word not in GROUP_WORDS:
                hint = did_you_mean(word, GROUP_WORDS)
                raise BadInput(
                    f"groupBy: unknown word {shown(word)}; {hint}",
                    code="UNKNOWN_FIELD",
                    path="groupBy",
                    value=word,
                    hint=hint,
                )
        if not words or "cursor" in given:
            raise BadInput(
                "groupBy: takes some of code, source, name, and no cursor beside it",
                code="INVALID_VALUE",
                path="groupBy",
                value=given["groupBy"],
            )
        return QuarantineGroups(tuple(dict.fromkeys(words)), _limit(given), start, end, **conditions, state=state)
    before = position_of(given.get("cursor"), Seq)
    return QuarantinePage(
        limit=_limit(given) + 1,
        start_us=start,
        end_us=end,
        before_seq=before,
        state=state,
        **conditions,
    )


def parse_quarantine_id(text: str) -> QuarantineById:
    """A seq, or the UUID of the event."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        return QuarantineById(seq=int(text))
    return QuarantineById(event_id=uuid_text(text))


def events_page(plan: EventsPage, table: Table) -> Page:
    rows = [dict(zip(EVENT_FIELDS, row, strict=True)) for row in table.rows]
    shown_rows = rows[: plan.limit - 1]
    more = len(rows) >= plan.limit
    cursor = cursor_of((shown_rows[-1]["occurred_us"], shown_rows[-1]["seq"])) if more else None
    return Page([event_out(row) for row in shown_rows], cursor)


def events_of(table: Table) -> list[EventOut]:
    return [event_out(dict(zip(EVENT_FIELDS, row, strict=True))) for row in table.rows]


def quarantine_page(plan: QuarantinePage, table: Table) -> Page:
    items = quarantined_of(table)
    more = len(items) >= plan.limit
    items = items[: plan.limit - 1]
    return Page(items, cursor_of(items[-1].seq) if more else None)


def quarantined_of(table: Table) -> list[QuarantinedOut]:
    return [_quarantined_out(dict(zip(QUARANTINE_FIELDS, row, strict=True))) for row in table.rows]


def quarantine_groups(plan: QuarantineGroups, table: Table) -> Page:
    items = []
    for row in table.rows:
        named = dict(zip(plan.by, row, strict=False))
        count, first, last, example, detail = row[len(plan.by) :]
        items.append(QuarantineGroup(count, text_of(first), text_of(last), example, detail, **named))
    return Page(items, None)


def event_out(row: dict[str, Any]) -> EventOut:
    created = row["occurred_us"] if row["created_us"] is None else row["created_us"]
    return EventOut(
        id=row["id"],
        type=row["type"],
        name=row["name"],
        source=row["source"],
        actor=row["actor"],
        timestamp=text_of(created),
        data=EventDataOut(
            attributes=msgspec.Raw(row["attributes"].encode()),
            metadata=EventMetadataOut(row["source_ip"], row["user_agent"], row["session_id"], row["client_batch_id"]),
        ),
        version=row["version"],
        processing_status="PROCESSED",
        occurred_at=text_of(row["occurred_us"]),
        received_at=text_of(row["received_us"]),
        batch_id=row["batch_id"],
        log_offset=row["seq"],
    )


def _quarantined_out(row: dict[str, Any]) -> QuarantinedOut:
    event: Any = row["event"]
    more: dict[str, Any] = {"state": "open"}
    if row["by_seq"] is not None:
        more = {"state": "replayed", "outcome": row["outcome"], "replayed_by": row["by_seq"]}
    try:
        whole = msgspec.json.decode(event)
        event = msgspec.Raw(event.encode())
        more |= _marked(row["detail"], whole)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # not JSON: it goes out as the text it is
    plain = ("seq", "id", "source", "name", "code", "step", "detail", "replays_seq")
    return QuarantinedOut(
        **{name: row[name] for name in plain}, received_at=text_of(row["received_us"]), event=event, **more
    )


def _marked(detail: str, event: Any) -> dict[str, Any]:
    """The path that a detail begins with, `$[3].data.attributes.price: …`, and what stands there."""
    found = _PATH.match(detail)
    if found is None:
        return {}
    steps: list[str | int] = []
    for plain, place, quoted in _STEPS.findall(found["path"]):
        steps.append(plain or (int(place) if place else re.sub(r"\\(.)", r"\1", quoted)))
    return {"path": "$" + found["path"], "value": value_at(event, steps)}


def _given(
    parameters: Sequence[tuple[str, str]], known: Sequence[str]
) -> tuple[dict[str, str], dict[str, Any], tuple[Filter, ...]]:
    """(plain parameters, parts of the time range, filters)."""
    given: dict[str, str] = {}
    span: dict[str, Any] = {}
    filters: list[Filter] = []
    for name, value in parameters:
        field = range_field(name)
        if field is not None and field != "interval":
            add_range(span, field, value)
        elif name == "filter" and name in known:
            filters += _filters(value)
        elif name not in known:
            raise unknown_parameter(name, known)
        elif name in given:
            raise BadInput(f"{name}: given twice", code="DUPLICATE_PARAMETER", path=name, value=value)
        else:
            given[name] = value
    return given, span, tuple(filters)


def _filters(text: str) -> tuple[Filter, ...]:
    value = decoded(text, "filter")
    return read(tuple[Filter, ...], value if isinstance(value, list) else [value], "filter")


def _instants(span: dict[str, Any], now_us: int) -> tuple[int | None, int | None]:
    """Either end may be open here; a relative range has both."""
    if not span:
        return None, None
    if "last" not in span and "offset" not in span and ("start" in span) != ("end" in span):
        far = {"start": "0002-01-01T00:00:00Z", "end": "9998-12-31T00:00:00Z"}
        resolved = resolve(read(RangeAsked, far | span, "timeRange"), now_us, "UTC", "timeRange")
        return (resolved.start_us, None) if "start" in span else (None, resolved.end_us)
    resolved = resolve(read(RangeAsked, span, "timeRange"), now_us, "UTC", "timeRange")
    return resolved.start_us, resolved.end_us


def _limit(given: dict[str, str]) -> int:
    return checked_limit(given.get("limit", str(LIMIT_DEFAULT)))


def uuid_text(text: str) -> str:
    """Canonical form. Raises BadInput (code INVALID_ID)."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise BadInput(
            f"id: expected a UUID, got {shown(text)}", code="INVALID_ID", path="id", value=text[:60]
        ) from None
