"""Schemas and stored events: one made from them, one tried on them before it holds."""

import time
from typing import Any

import msgspec
from litestar import Response, post

from headwater.api.auth import needs
from headwater.api.rest.asking import AnyRequest, access_of, project_of, site_of
from headwater.api.rest.objects import body_of
from headwater.api.rest.schemas import A_SCHEMA, declared
from headwater.api.site import Project
from headwater.api.stored import Stream, quarantined_texts
from headwater.collect.schemas.compare import Change, changes_between
from headwater.collect.schemas.learn import Lesson, learn
from headwater.collect.schemas.propose import Evidence, propose
from headwater.collect.schemas.trial import SCHEMA_CODES, Failure, Trial, try_out, would_pass
from headwater.domain.errors import BadInput, NotFound
from headwater.domain.events import text_of
from headwater.domain.reading import read
from headwater.domain.schemas import Schema, parse_as, schema_of
from headwater.domain.timerange import RangeAsked, resolve
from headwater.domain.values import shown
from headwater.storage.catalog.base import Catalog

EVENTS_DEFAULT, EVENTS_MAX = 10_000, 100_000
NAMES_HINT = 'POST /api/v1/query with "metrics": ["events"], "dimensions": ["name"] lists the names that are stored'


class InferAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    name: str
    version: str | None = None
    """Of the events. Default: the one that most of those read have."""
    time_range: RangeAsked | None = None
    """As in a question; of `occurredAt`."""
    limit: int = EVENTS_DEFAULT
    """Events read, the newest ones; at most 100,000."""


class VersionCount(msgspec.Struct, frozen=True):
    version: str
    events: int


class InferEvidence(msgspec.Struct, frozen=True, rename="camel"):
    events: int
    """Of the schema's version, learned from."""
    first_at: str
    last_at: str
    versions: list[VersionCount]
    """All that were met, the most frequent first."""
    unreadable: int
    truncated: bool
    """Something was left out, for one of the `limits`."""
    limits: list[str]
    """Those that were reached: events, seconds, versions, paths, fields, keyCharacters, levels, elements or, where the
    proposal is shorter than what was learned, properties."""
    paths: list[Evidence]


class Inferred(msgspec.Struct, frozen=True):
    schema: Schema
    """To be declared as it is."""
    evidence: InferEvidence


class CheckAsked(Schema, frozen=True, rename="camel", forbid_unknown_fields=True):
    last_events: int = EVENTS_DEFAULT
    """Stored events that it is tried on, the newest ones; 0 to 100,000."""


class ComparedWith(msgspec.Struct, frozen=True, rename="camel"):
    version: str
    object_version: int
    changed_at: str


class Checked(msgspec.Struct, frozen=True, rename="camel"):
    compatible: bool
    """No change is breaking; so too where no schema of that name is declared yet."""
    compared_with: ComparedWith | None
    """The declared schema of the same version, else the one of that name which was declared last."""
    changes: list[Change]
    checked: int
    event_version: str | None
    """Of the events that were checked: the schema's own; null = of every version, for there is none of its own."""
    would_fail: int
    would_warn: int
    failures: list[Failure]
    would_rescue: int | None
    """Of as many events in quarantine, those that it would let in; null where time did not suffice."""
    truncated: bool
    limits: list[str]
    """Those that were reached: events, seconds, failures."""


@post(
    "/api/v1/schemas/infer",
    opt=needs("events:read", body=InferAsked, example={"name": "purchase", "timeRange": {"last": "7d"}}),
    status_code=200,
    summary="Propose a schema from stored events",
    tags=["schemas"],
)
async def infer_schema(request: AnyRequest) -> Response[Inferred]:
    """It accepts every event it was made from, and refuses nothing (mode `warn`). Nothing is declared by this."""
    site = site_of(request)
    asked = infer_asked(body_of(await request.body()))
    span = None if asked.time_range is None else resolve(asked.time_range, time.time_ns() // 1000, "UTC")
    project = await project_of(request)
    stream = Stream(
        project.warehouse,
        asked.name,
        events_max=asked.limit,
        seconds_max=site.query_seconds_max,
        version=asked.version,
        start_us=None if span is None else span.start_us,
        end_us=None if span is None else span.end_us,
    )
    return Response(await site.lane.run(inferred, asked, stream))


@post(
    "/api/v1/schemas/check",
    opt=needs("events:read", body=CheckAsked, example={**A_SCHEMA, "lastEvents": EVENTS_DEFAULT}),
    status_code=200,
    summary="What would a schema change",
    tags=["schemas"],
)
async def check_schema(request: AnyRequest) -> Response[Checked]:
    """Against the declared one and against stored events, as if it were enforced. Nothing is declared by this."""
    site = site_of(request)
    asked = parse_as(CheckAsked, body_of(await request.body()))
    if not 0 <= asked.last_events <= EVENTS_MAX:
        raise bad_limit("lastEvents", 0, asked.last_events)
    project = await project_of(request)
    work = (asked, site.catalog, access_of(request).project, project, site.query_seconds_max)
    return Response(await site.lane.run(checked, *work))


def infer_asked(body: dict[str, Any]) -> InferAsked:
    if isinstance(body.get("version"), int) and not isinstance(body["version"], bool):
        body = {**body, "version": str(body["version"])}
    asked = read(InferAsked, body)
    if not 1 <= asked.limit <= EVENTS_MAX:
        raise bad_limit("limit", 1, asked.limit)
    if asked.time_range is not None and asked.time_range.interval not in (None, msgspec.UNSET):
        raise BadInput(
            "$.timeRange.interval: nothing is cut into buckets here", code="UNKNOWN_FIELD", path="$.timeRange.interval"
        )
    return asked


def bad_limit(field: str, least: int, value: int) -> BadInput:
    return BadInput(
        f"$.{field}: expected {least} to {EVENTS_MAX}, got {shown(value)}",
        code="INVALID_LIMIT",
        path=f"$.{field}",
        value=value,
        limit=EVENTS_MAX,
    )


def inferred(asked: InferAsked, stream: Stream) -> Inferred:
    lesson = learn(stream)
    if not lesson.versions or not lesson.versions[0].events:
        raise no_events(asked, lesson)
    learned = lesson.versions[0]
    proposal = propose(asked.name, learned)
    reached = lesson.reached | limits_of(stream) | ({"properties"} if proposal.fields_left_out else set())
    evidence = InferEvidence(
        events=learned.events,
        first_at=text_of(learned.first_us),
        last_at=text_of(learned.last_us),
        versions=[VersionCount(each.version, each.events) for each in lesson.versions],
        unreadable=lesson.unreadable,
        truncated=bool(reached),
        limits=sorted(reached),
        paths=proposal.paths,
    )
    return Inferred(proposal.schema, evidence)


def no_events(asked: InferAsked, lesson: Lesson) -> NotFound:
    of_version = "" if asked.version is None else f" of version {shown(asked.version)}"
    in_range = "" if asked.time_range is None else " in that time range"
    which = f"no event {shown(asked.name)}{of_version} is stored{in_range}"
    if lesson.unreadable:
        which = f"none of the {lesson.unreadable} events {shown(asked.name)} that were read can be learned from"
    return NotFound(which, code="NO_EVENTS", path="$.name", value=asked.name, hint=NAMES_HINT)


def limits_of(stream: Stream) -> set[str]:
    reached = {"events"} if stream.more else set()
    return reached | ({"seconds"} if stream.out_of_time else set())


def checked(asked: CheckAsked, catalog: Catalog, project_name: str, project: Project, seconds_max: float) -> Checked:
    deadline = time.monotonic() + seconds_max
    compared_with, changes = compared(asked, catalog, project_name)
    version: str | None = asked.version
    trial, reached = tried(asked, project, version, seconds_max)
    if not trial.checked and asked.last_events:
        version = None
        trial, reached = tried(asked, project, version, max(deadline - time.monotonic(), 0.001))
    rescued = rescue(asked, project, deadline - time.monotonic())
    if rescued is None:
        reached |= {"seconds"}
    return Checked(
        compatible=not any(each.breaking for each in changes),
        compared_with=compared_with,
        changes=changes,
        checked=trial.checked,
        event_version=version if trial.checked else asked.version,
        would_fail=trial.would_fail,
        would_warn=trial.would_warn,
        failures=trial.failures,
        would_rescue=rescued,
        truncated=bool(reached),
        limits=sorted(reached),
    )


def compared(asked: Schema, catalog: Catalog, project: str) -> tuple[ComparedWith | None, list[Change]]:
    known = list(declared(catalog, project, asked.name))
    same = [each for each in known if each.body["version"] == asked.version]
    if not known:
        return None, []
    stored = same[0] if same else max(known, key=lambda each: each.created_us)
    before = schema_of(stored.body)
    told = ComparedWith(before.version, stored.version, text_of(stored.updated_us))
    return told, changes_between(before, asked)


def tried(asked: CheckAsked, project: Project, version: str | None, seconds_max: float) -> tuple[Trial, set[str]]:
    if not asked.last_events:
        return Trial(0, 0, 0, [], False), set()
    stream = Stream(
        project.warehouse, asked.name, events_max=asked.last_events, seconds_max=seconds_max, version=version
    )
    trial = try_out(asked, stream)
    return trial, limits_of(stream) | ({"failures"} if trial.failures_left_out else set())


def rescue(asked: CheckAsked, project: Project, seconds_left: float) -> int | None:
    if not asked.last_events:
        return 0
    try:
        return would_pass(
            asked, quarantined_texts(project.warehouse, asked.name, SCHEMA_CODES, asked.last_events, seconds_left)
        )
    except BadInput as error:
        if error.code == "QUERY_TIMEOUT":
            return None
        raise
