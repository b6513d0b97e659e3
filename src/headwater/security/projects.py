"""Projects as they stand in the catalog: one document each, of kind `project`, under the project ``."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.domain.errors import BadInput, NotFound
from headwater.domain.projects import ProjectSettings, project_settings
from headwater.storage.catalog.base import Catalog, Stored, every

KIND = "project"
OWNER = ""


def create_project(catalog: Catalog, body: Mapping[str, Any]) -> Stored:
    """Raises BadInput, and Conflict (ALREADY_EXISTS). Its keys are made apart: `keys.create_first_pair`."""
    settings = project_settings(body)
    return catalog.put(KIND, OWNER, settings.name, msgspec.to_builtins(settings), if_version=0)


def change_project(catalog: Catalog, name: str, body: Mapping[str, Any], *, if_version: int | None = None) -> Stored:
    """Set the given fields, keep the others. Raises BadInput, NotFound, and Conflict (VERSION_MISMATCH)."""
    stored = _stored(catalog, name)
    settings = project_settings({**stored.body, **body})
    if settings.name != name:
        raise BadInput("$.name: the name of a project never changes", code="INVALID_FIELD", path="$.name")
    known = stored.version if if_version is None else if_version
    return catalog.put(KIND, OWNER, name, msgspec.to_builtins(settings), if_version=known)


def settings_of(catalog: Catalog, name: str) -> ProjectSettings:
    """Raises NotFound (PROJECT_NOT_FOUND)."""
    return msgspec.convert(_stored(catalog, name).body, ProjectSettings)


def list_projects(catalog: Catalog) -> list[ProjectSettings]:
    """By name."""
    return [msgspec.convert(stored.body, ProjectSettings) for stored in every(catalog, KIND, OWNER)]


def unknown_project(name: str) -> NotFound:
    return NotFound(
        f"no project {name[:80]!r}; make it with 'headwater project create'", code="PROJECT_NOT_FOUND", value=name[:80]
    )


def _stored(catalog: Catalog, name: str) -> Stored:
    stored = catalog.get(KIND, OWNER, name)
    if stored is None:
        raise unknown_project(name)
    return stored
