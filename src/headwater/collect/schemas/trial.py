"""A schema, tried on events: how many would fail, and what of. It judges by the collector's own functions."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from headwater.collect.enforce import findings_on
from headwater.collect.schemas.samples import Sample, place_of, value_at
from headwater.domain import wire
from headwater.domain.schemas import Finding, Rules, Schema
from headwater.domain.values import SHOWN_CHARACTERS_MAX

FAILURES_MAX = 100
"""Groups of failures that are told apart; what is beyond counts in `wouldFail` alone."""
VALUE_BYTES_MAX = 200
SCHEMA_CODES = (
    *("TYPE_MISMATCH", "SCHEMA_MISSING_FIELD", "SCHEMA_UNKNOWN_FIELD", "SCHEMA_VIOLATION"),
    *("UNKNOWN_EVENT", "UNKNOWN_VERSION"),
)
"""What an event may be in quarantine for that a schema is to blame for."""


class Example(msgspec.Struct, frozen=True):
    id: str
    detail: str
    value: Any | UnsetType = UNSET
    """At the path; a long one is cut. Left out where there is none."""


class Failure(msgspec.Struct, frozen=True):
    """Events that fail for one reason in one place. Each event counts once, for its first fault."""

    code: str
    path: str
    count: int
    example: Example


class Trial(NamedTuple):
    checked: int
    would_fail: int
    would_warn: int
    """Right but for fields that `unknownFields: warn` tells of."""
    failures: list[Failure]
    """The most frequent first."""
    failures_left_out: bool


def try_out(schema: Schema, samples: Iterable[Sample]) -> Trial:
    """Judge events as if they were of the schema's version and it were enforced. 1 µs a right event, 10 a wrong one."""
    rules = Rules([_enforced(schema)])
    checked = failed = warned = 0
    left_out = False
    groups: dict[tuple[str, str], list[Any]] = {}
    for sample in samples:
        checked += 1
        findings = rules.check(schema.name, schema.version, sample.attributes)
        if not findings:
            continue
        fault = next((each for each in findings if each.quarantine), None)
        if fault is None:
            warned += 1
            continue
        failed += 1
        group = fault.code, place_of(fault.keys)
        if group in groups:
            groups[group][0] += 1
        elif len(groups) < FAILURES_MAX:
            groups[group] = [1, _example(sample, fault)]
        else:
            left_out = True
    failures = [Failure(code, path, count, example) for (code, path), (count, example) in groups.items()]
    failures.sort(key=lambda each: -each.count)
    return Trial(checked, failed, warned, failures, left_out)


def would_pass(schema: Schema, texts: Iterable[str]) -> int:
    """How many of these events, as they came, the schema would let in. All else was found right when they came."""
    rules = Rules([_enforced(schema)])
    return sum(_passes(text.encode(), schema.version, rules) for text in texts)


def _passes(text: bytes, version: str, rules: Rules) -> bool:
    try:
        event = wire.decode_event(text)
    except wire.UNREADABLE:
        return False
    if version != ("1" if event.version is UNSET else event.version):
        return False
    if event.data is not UNSET and not bytes(event.data.attributes).startswith(b"{"):
        return False
    return not any(each.quarantine for each in findings_on(event, rules))


def _enforced(schema: Schema) -> Schema:
    return Schema(schema.name, schema.json_schema, schema.version, "enforce", schema.unknown_fields)


def _example(sample: Sample, fault: Finding) -> Example:
    detail = f"$.data.attributes{fault.path}: {fault.message}"
    try:
        value = value_at(msgspec.json.decode(sample.attributes), fault.keys)
    except msgspec.MsgspecError:
        return Example(sample.id, detail)
    return Example(sample.id, detail, UNSET if value is None and fault.code == "SCHEMA_MISSING_FIELD" else _cut(value))


def _cut(value: Any) -> Any:
    """As it is where it is short, else the beginning of its text."""
    if isinstance(value, str):
        return value if len(value) <= SHOWN_CHARACTERS_MAX else value[: SHOWN_CHARACTERS_MAX - 1] + "…"
    text = msgspec.json.encode(value)
    return value if len(text) <= VALUE_BYTES_MAX else text[:SHOWN_CHARACTERS_MAX].decode(errors="ignore") + "…"
