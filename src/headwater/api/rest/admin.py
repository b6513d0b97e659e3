"""Projects, their settings, and keys."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from headwater.api.auth import needs
from headwater.api.rest.answers import KeyPage, ProjectMade, ProjectOut, ProjectPage
from headwater.api.rest.asking import AnyRequest, Cursor, Limit, access_of, site_of
from headwater.api.rest.objects import (
    body_of,
    create_once,
    page_of,
    stamped,
    tagged,
    wanted_version,
)
from headwater.domain.cursors import checked_limit, cursor_of, position_of
from headwater.domain.errors import Refused
from headwater.domain.events import text_of, us_of
from headwater.domain.keys import ALL_SCOPES, Key
from headwater.domain.projects import ProjectSettings
from headwater.domain.reading import read
from headwater.observe.journal import get_journal
from headwater.security import keys, projects

audit = get_journal("audit")


class KeyAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    name: str
    kind: str = "sk"
    scopes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    events_per_second: float | None = None
    events_burst: int | None = None
    expires_at: dt.datetime | None = None


@get("/api/v1/projects", opt=needs("admin", answer=ProjectPage), summary="List projects", tags=["projects"])
async def list_projects(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    """All for whoever holds the data folder; a key sees its own."""
    catalog, access = site_of(request).catalog, access_of(request)
    if access.kind in ("local", "open"):
        return await asyncio.to_thread(page_of, catalog, projects.KIND, projects.OWNER, limit, cursor)
    checked_limit(limit), position_of(cursor, str)
    own = catalog.get(projects.KIND, projects.OWNER, access.project)
    return Response({"items": [stamped(own)] if own else [], "nextCursor": None})


@post(
    "/api/v1/projects",
    opt=needs(
        "admin",
        body=ProjectSettings,
        example={"name": "shop", "timeZone": "Europe/Berlin"},
        creates=True,
        answer=ProjectMade,
    ),
    summary="Create a project",
    tags=["projects"],
)
async def create_project(request: AnyRequest) -> Response[Any]:
    """With its first two keys; the secret one is shown this once. Only by the data folder's own socket, or --open."""
    site, access = site_of(request), access_of(request)
    if access.kind not in ("local", "open"):
        raise Refused(
            "a key belongs to one project and can't make others",
            code="PROJECT_FORBIDDEN",
            hint="on the machine itself: headwater project create NAME",
        )
    body = {"unknownEvents": site.unknown_events_default, **body_of(await request.body())}

    def make() -> Response[Any]:
        stored = projects.create_project(site.catalog, body)
        pair = keys.create_first_pair(site.catalog, stored.name)
        site.authenticator.refresh()
        audit.info("project_created", project=stored.name, by=access.key_id)
        made = {**stamped(stored), "keys": [shown_key(key, secret) for key, secret in pair]}
        return Response(made, status_code=201, headers={"ETag": f'"{stored.version}"'})

    return await site.write(lambda: create_once(site.catalog, request, projects.OWNER, projects.KIND, make))


@get(
    "/api/v1/settings",
    opt=needs("query", answer=ProjectOut),
    sync_to_thread=False,
    summary="Settings of the project",
    tags=["projects"],
)
def read_settings(request: AnyRequest) -> Response[Any]:
    stored = site_of(request).catalog.get(projects.KIND, projects.OWNER, access_of(request).project)
    if stored is None:
        raise projects.unknown_project(access_of(request).project)
    return tagged(stored, 200, stamped)


@put(
    "/api/v1/settings",
    opt=needs("admin", body=dict, example={"timeZone": "Europe/Berlin", "retention": "2y"}, answer=ProjectOut),
    summary="Change settings of the project",
    tags=["projects"],
)
async def write_settings(request: AnyRequest) -> Response[Any]:
    """Fields that are left out keep their value."""
    site, access = site_of(request), access_of(request)
    changes, version = body_of(await request.body()), wanted_version(request)
    stored = await site.write(
        lambda: projects.change_project(site.catalog, access.project, changes, if_version=version)
    )
    audit.info("settings_changed", project=access.project, by=access.key_id, fields=sorted(changes))
    return tagged(stored, 200, stamped)


@get("/api/v1/keys", opt=needs("admin", answer=KeyPage), summary="List keys", tags=["keys"])
async def list_keys(request: AnyRequest, limit: Limit = 100, cursor: Cursor = None) -> Response[Any]:
    """Oldest first, revoked ones included. Secrets of `in` keys stay readable."""
    begin = position_of(cursor, Annotated[int, msgspec.Meta(ge=0)]) or 0
    found = await asyncio.to_thread(keys.list_keys, site_of(request).catalog, access_of(request).project)
    end = begin + checked_limit(limit)
    items = [shown_key(key, key.secret) for key in found[begin:end]]
    return Response({"items": items, "nextCursor": cursor_of(end) if end < len(found) else None})


@post(
    "/api/v1/keys",
    opt=needs(
        "admin",
        body=KeyAsked,
        example={"name": "reader", "kind": "sk", "scopes": ["query"]},
        creates=True,
        answer=Key,
    ),
    summary="Create a key",
    tags=["keys"],
)
async def create_key(request: AnyRequest) -> Response[Any]:
    """The secret of an `sk` key is shown this once. Without scopes it may do everything in its project."""
    site, access = site_of(request), access_of(request)
    asked = read(KeyAsked, body_of(await request.body()))

    def make() -> Response[Any]:
        scopes = asked.scopes or (() if asked.kind == "in" else tuple(ALL_SCOPES))
        fields: dict[str, Any] = {**msgspec.structs.asdict(asked), "scopes": scopes}
        key, secret = keys.create_key(site.catalog, access.project, **fields)
        site.authenticator.refresh()
        audit.info("key_created", project=access.project, by=access.key_id, key_id=key.id, kind_of_key=key.kind)
        return Response(shown_key(key, secret), status_code=201)

    return await site.write(lambda: create_once(site.catalog, request, access.project, keys.KIND, make))


@delete("/api/v1/keys/{key:str}", opt=needs("admin"), summary="Revoke a key", tags=["keys"])
async def revoke_key(request: AnyRequest, key: FromPath[str]) -> None:
    """By id, or by a name that one valid key has. Refused everywhere within a second."""
    site, access = site_of(request), access_of(request)
    revoked = await site.write(lambda: keys.revoke_key(site.catalog, access.project, key))
    site.authenticator.refresh()
    audit.info("key_revoked", project=access.project, by=access.key_id, key_id=revoked.id)


def shown_key(key: Key, secret: str | None) -> Mapping[str, Any]:
    times = {"createdAt": key.created_at, "revokedAt": key.revoked_at, "expiresAt": key.expires_at}
    shown = {name: None if at is None else text_of(us_of(at)) for name, at in times.items()}
    return {**msgspec.to_builtins(key), **shown, "secret": secret}
