"""A replay as asked: which quarantined events, what is to be changed in them, and whether only to look."""

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from headwater.domain.errors import BadInput
from headwater.domain.filters import instant_us
from headwater.domain.patches import Operation, Patch
from headwater.domain.plans import Chosen
from headwater.domain.reading import read
from headwater.domain.timerange import RangeAsked, resolve
from headwater.domain.values import shown

VALUES_MAX = 1000
"""Of one field."""

Seq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Texts = str | tuple[str, ...] | UnsetType


class QuarantineFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """All that is given must hold; a list means any of its values. `{}` is everything in quarantine."""

    code: Texts = UNSET
    source: Texts = UNSET
    name: str | tuple[str | None, ...] | UnsetType | None = UNSET
    """null = events whose name can't be read."""
    step: Texts = UNSET
    id: Texts = UNSET
    seq: Seq | tuple[Seq, ...] | UnsetType = UNSET
    time_range: dict[str, Any] | UnsetType = UNSET
    """Of receipt. Either end may be left out."""


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    filter: QuarantineFilter
    patch: tuple[Operation, ...] = ()
    dry_run: bool = True


class Replay(msgspec.Struct, frozen=True):
    """Resolved: what a relative time range means is fixed."""

    chosen: Chosen
    patch: tuple[Operation, ...]
    dry_run: bool = True


def parse_replay(body: Any, now_us: int) -> Replay:
    """From a decoded body. Raises BadInput naming path, value and cure."""
    asked = read(ReplayRequest, body)
    Patch(asked.patch)
    return Replay(chosen_of(asked.filter, now_us), asked.patch, asked.dry_run)


def chosen_of(asked: QuarantineFilter, now_us: int, path: str = "$.filter") -> Chosen:
    """Raises BadInput."""
    span = {} if asked.time_range is UNSET else asked.time_range
    start_us, end_us = _instants(span, now_us, f"{path}.timeRange")
    return Chosen(
        codes=_values(asked.code, f"{path}.code"),
        sources=_values(asked.source, f"{path}.source"),
        names=_values(asked.name, f"{path}.name"),
        steps=_values(asked.step, f"{path}.step"),
        seqs=_values(asked.seq, f"{path}.seq"),
        ids=tuple(_uuid(text, f"{path}.id") for text in _values(asked.id, f"{path}.id")),
        start_us=start_us,
        end_us=end_us,
    )


def _values(given: Any, path: str) -> tuple[Any, ...]:
    if given is UNSET:
        return ()
    values = given if isinstance(given, tuple) else (given,)
    if not 0 < len(values) <= VALUES_MAX:
        raise BadInput(
            f"{path}: {len(values)} values; 1 to {VALUES_MAX} are allowed",
            code="TOO_MANY_VALUES" if values else "INVALID_VALUE",
            path=path,
            value=len(values),
            limit=VALUES_MAX,
        )
    return tuple(values)


def _instants(span: dict[str, Any], now_us: int, path: str) -> tuple[int | None, int | None]:
    """Either end may be open, but for a relative range."""
    if not span:
        return None, None
    if span.keys() <= {"start", "end"} and len(span) == 1:
        ((end, value),) = span.items()
        us = instant_us(value, f"{path}.{end}")
        return (us, None) if end == "start" else (None, us)
    resolved = resolve(read(RangeAsked, span, path), now_us, "UTC", path)
    return resolved.start_us, resolved.end_us


def _uuid(text: str, path: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise BadInput(
            f"{path}: expected a UUID, got {shown(text)}", code="INVALID_ID", path=path, value=text[:60]
        ) from None
