"""A project: the unit of isolation, and what is set for it."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.reading import read
from headwater.domain.timerange import zone_of
from headwater.domain.values import shown

DEFAULT_PROJECT = "default"
RETENTION_DAYS_MAX = 36_500

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_RETENTION = re.compile(r"([1-9][0-9]{0,4})([dy])")
_DAYS = {"d": 1, "y": 366}
"""A year counts 366 days, so that nothing goes before the calendar says so."""


class ProjectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What people set for a project; its name never changes."""

    name: str
    time_zone: str = "UTC"
    retention: str = "forever"
    """How long events stay in the warehouse: `forever`, or days or years as in `90d`, `2y`."""
    unknown_events: Literal["allow", "warn", "quarantine"] = "allow"
    """What happens to events whose (name, version) has no schema."""
    quarantine_retention: str | None = None
    """How long refused events stay in quarantine; null = as long as `retention`."""
    lake_retention: str = "forever"
    """How long events stay in the lake as they came; never shorter than the others, or nothing could be made again."""


def project_settings(body: Mapping[str, Any]) -> ProjectSettings:
    """Checked settings from a document of the wire or the catalog. Raises BadInput naming the field and the cure."""
    settings = read(ProjectSettings, body)
    checked_project_name(settings.name)
    zone_of(settings.time_zone)
    _check_retentions(settings)
    return settings


def checked_project_name(name: str) -> str:
    """`name` itself. It becomes a folder and a database, hence the narrow rule."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"$.name: expected 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit; got {shown(name)}",
            code="INVALID_NAME",
            path="$.name",
            value=name[:80],
        )
    return name


def _check_retentions(settings: ProjectSettings) -> None:
    lake_days = retention_days(settings.lake_retention, "$.lakeRetention")
    for name, text in (("retention", settings.retention), ("quarantineRetention", settings.quarantine_retention)):
        days = None if text is None else retention_days(text, f"$.{name}")
        if lake_days is not None and text is not None and (days is None or days > lake_days):
            raise BadInput(
                f"$.lakeRetention: {settings.lake_retention} is shorter than {name}, which is {text}: what the "
                "warehouse holds could not be made again from the lake; make it at least as long",
                code="INVALID_RETENTION",
                path="$.lakeRetention",
                value=settings.lake_retention,
                limit=days,
            )


def retention_days(text: str, path: str = "$.retention") -> int | None:
    """Whole days; None for `forever`. Raises BadInput (INVALID_RETENTION)."""
    if text == "forever":
        return None
    match = _RETENTION.fullmatch(text)
    days = int(match[1]) * _DAYS[match[2]] if match else 0
    if not 0 < days <= RETENTION_DAYS_MAX:
        raise BadInput(
            f"{path}: expected 'forever', or days or years like '90d' or '2y' up to {RETENTION_DAYS_MAX} days; "
            f"got {shown(text)}",
            code="INVALID_RETENTION",
            path=path,
            value=text[:40],
            limit=RETENTION_DAYS_MAX,
        )
    return days
