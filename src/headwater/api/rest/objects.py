"""The one manner of catalog objects on the wire: pages by cursor, ETag out, If-Match in, Idempotency-Key on create."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response

from headwater.collect.head import KEY_CHARACTERS_MAX
from headwater.domain.cursors import checked_limit, cursor_of, position_of
from headwater.domain.errors import BadInput, Conflict, NotFound
from headwater.domain.events import text_of
from headwater.domain.reading import decoded, read
from headwater.domain.values import shown
from headwater.observe.journal import get_journal
from headwater.storage.catalog.base import Catalog, Stored

audit = get_journal("audit")

View = Callable[[Stored], Mapping[str, Any]]
AnyRequest = Request[Any, Any, Any]


class Answered(msgspec.Struct, frozen=True):
    """The answer to a creation, kept for its repeats."""

    body: Any
    headers: dict[str, str]


def instant(us: int | None) -> str | None:
    """An instant as it goes out; None where there is none."""
    return None if us is None else text_of(us)


def stamped(stored: Stored) -> dict[str, Any]:
    """The body with the facts that the catalog keeps about it."""
    return {
        **stored.body,
        "objectVersion": stored.version,
        "createdAt": instant(stored.created_us),
        "updatedAt": instant(stored.updated_us),
    }


def body_of(raw: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises BadInput."""
    return read(dict[str, Any], decoded(raw))


def page_of(
    catalog: Catalog, kind: str, project: str, limit: int, cursor: str | None, view: View = stamped
) -> Response[Any]:
    after = position_of(cursor, str) or ""
    found = catalog.list(kind, project, after=after, limit=checked_limit(limit) + 1)
    items = [view(stored) for stored in found[:limit]]
    more = cursor_of(found[limit - 1].name) if len(found) > limit else None
    return Response({"items": items, "nextCursor": more})


def one_of(catalog: Catalog, kind: str, project: str, name: str, view: View = stamped) -> Response[Any]:
    return tagged(existing(catalog, kind, project, name), 200, view)


def existing(catalog: Catalog, kind: str, project: str, name: str) -> Stored:
    stored = catalog.get(kind, project, name)
    if stored is None:
        raise missing(kind, project, name)
    return stored


def missing(kind: str, project: str, name: str) -> NotFound:
    return NotFound(f"no {kind} {shown(name)} in project {project!r}", value=name)


def create_once(
    catalog: Catalog, request: AnyRequest, project: str, scope: str, make: Callable[[], Response[Any]]
) -> Response[Any]:
    """Run `make`; a repeat with the same Idempotency-Key gets the first answer again."""
    key = request.headers.get("idempotency-key")
    if not key:
        return make()
    if len(key) > KEY_CHARACTERS_MAX:
        raise BadInput(
            f"Idempotency-Key: {len(key)} characters, at most {KEY_CHARACTERS_MAX}",
            code="BAD_HEADER",
            path="Idempotency-Key",
            limit=KEY_CHARACTERS_MAX,
        )
    kept = catalog.recall(project, scope, key)
    if kept is not None:
        answered = msgspec.json.decode(kept, type=Answered)
        return Response(answered.body, status_code=201, headers=answered.headers)
    response = make()
    # Secrets are shown once: the kept answer is without them.
    answered = Answered(without_secrets(response.content), dict(response.headers))
    catalog.remember(project, scope, key, msgspec.json.encode(answered).decode())
    return response


def without_secrets(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: None if name == "secret" else without_secrets(value) for name, value in content.items()}
    return [without_secrets(each) for each in content] if isinstance(content, list) else content


def create(
    catalog: Catalog, request: AnyRequest, kind: str, project: str, name: str, body: Mapping[str, Any], view: View
) -> Response[Any]:
    return create_once(catalog, request, project, kind, lambda: made(catalog, request, kind, project, name, body, view))


def made(
    catalog: Catalog, request: AnyRequest, kind: str, project: str, name: str, body: Mapping[str, Any], view: View
) -> Response[Any]:
    stored = catalog.put(kind, project, name, body, if_version=0)
    tell("created", request, kind, project, name)
    return tagged(stored, 201, view)


def write(
    catalog: Catalog, request: AnyRequest, kind: str, project: str, name: str, body: Mapping[str, Any], view: View
) -> Response[Any]:
    """Create or replace; with If-Match only replace."""
    if catalog.get(kind, project, name) is None:
        if "if-match" in request.headers:
            raise missing(kind, project, name)
        return made(catalog, request, kind, project, name, body, view)
    stored = catalog.put(kind, project, name, body, if_version=wanted_version(request))
    tell("changed", request, kind, project, name)
    return tagged(stored, 200, view)


def remove(catalog: Catalog, request: AnyRequest, kind: str, project: str, name: str) -> Response[None]:
    if not catalog.delete(kind, project, name, if_version=wanted_version(request)):
        raise missing(kind, project, name)
    tell("removed", request, kind, project, name)
    return Response(None, status_code=204)


def tell(what: str, request: AnyRequest, kind: str, project: str, name: str) -> None:
    audit.info(f"{kind}_{what}", project=project, name=name, by=request.state.access.key_id)


def tagged(stored: Stored, status: int, view: View) -> Response[Any]:
    return Response(view(stored), status_code=status, headers={"ETag": f'"{stored.version}"'})


def wanted_version(request: AnyRequest) -> int | None:
    """The version in If-Match; None when the header is absent or `*`."""
    header = request.headers.get("if-match", "*").strip()
    if header == "*":
        return None
    try:
        return int(header.strip('"'))
    except ValueError:
        raise Conflict(
            f'If-Match {header!r} is no ETag of ours; they look like "3"', code="VERSION_MISMATCH", value=header
        ) from None


def same_name(in_body: str, in_path: str) -> None:
    if in_body != in_path:
        raise BadInput(
            f"the body is about {in_body!r}, the address about {in_path!r}",
            code="NAME_MISMATCH",
            path="name",
            value=in_body,
            hint="a rename is a new object: create it, then delete the old one",
        )
