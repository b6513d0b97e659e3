"""The one manner of catalog objects on the wire: pages by cursor, ETag out, If-Match in, Idempotency-Key on create."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response

from headwater.domain.errors import BadInput, Conflict, NotFound
from headwater.domain.events import datetime_of
from headwater.storage.catalog.base import Catalog, Stored

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000

View = Callable[[Stored], Mapping[str, Any]]
AnyRequest = Request[Any, Any, Any]


def instant(us: int | None) -> str | None:
    """RFC 3339 in UTC with `Z`, microseconds kept."""
    if us is None:
        return None
    return datetime_of(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the body is not JSON: {error}", code="MALFORMED_JSON") from None
    if not isinstance(value, dict):
        raise BadInput(f"expected an object, got {type(value).__name__}", code="TYPE_MISMATCH", path="$")
    return value


def page_of(
    catalog: Catalog, kind: str, project: str, limit: int, cursor: str | None, view: View = stamped
) -> Response[Any]:
    after = cursor_value(cursor) if cursor else ""
    found = catalog.list(kind, project, after=after, limit=limited(limit) + 1)
    items = [view(stored) for stored in found[:limit]]
    more = cursor_text(found[limit - 1].name) if len(found) > limit else None
    return Response({"items": items, "nextCursor": more})


def one_of(catalog: Catalog, kind: str, project: str, name: str, view: View = stamped) -> Response[Any]:
    return tagged(existing(catalog, kind, project, name), 200, view)


def existing(catalog: Catalog, kind: str, project: str, name: str) -> Stored:
    stored = catalog.get(kind, project, name)
    if stored is None:
        raise NotFound(f"no {kind} {name!r} in project {project!r}", value=name)
    return stored


def create_once(
    catalog: Catalog, request: AnyRequest, project: str, scope: str, make: Callable[[], Response[Any]]
) -> Response[Any]:
    """Run `make`; a repeat with the same Idempotency-Key gets the first answer again."""
    key = request.headers.get("idempotency-key")
    if not key:
        return make()
    if len(key) > 255:
        raise BadInput("Idempotency-Key has more than 255 characters", code="BAD_HEADER", limit=255)
    kept = catalog.recall(project, scope, key)
    if kept is not None:
        return Response(json.loads(kept), status_code=201)
    response = make()
    # Secrets are shown once: the kept answer is without them.
    catalog.remember(project, scope, key, msgspec.json.encode(without_secrets(response.content)).decode())
    return response


def without_secrets(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: None if name == "secret" else without_secrets(value) for name, value in content.items()}
    return [without_secrets(each) for each in content] if isinstance(content, list) else content


def create(
    catalog: Catalog,
    request: AnyRequest,
    kind: str,
    project: str,
    name: str,
    body: Mapping[str, Any],
    view: View = stamped,
) -> Response[Any]:
    return create_once(
        catalog, request, project, kind, lambda: tagged(catalog.put(kind, project, name, body, if_version=0), 201, view)
    )


def replace(
    catalog: Catalog,
    request: AnyRequest,
    kind: str,
    project: str,
    name: str,
    body: Mapping[str, Any],
    view: View = stamped,
) -> Response[Any]:
    existing(catalog, kind, project, name)
    return tagged(catalog.put(kind, project, name, body, if_version=wanted_version(request)), 200, view)


def remove(catalog: Catalog, request: AnyRequest, kind: str, project: str, name: str) -> Response[None]:
    if not catalog.delete(kind, project, name, if_version=wanted_version(request)):
        raise NotFound(f"no {kind} {name!r} in project {project!r}", value=name)
    return Response(None, status_code=204)


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


def limited(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise BadInput(
            f"limit {limit} is outside 1 … {LIMIT_MAX}", code="OUT_OF_RANGE", path="limit", value=limit, limit=LIMIT_MAX
        )
    return limit


def cursor_text(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def cursor_value(cursor: str) -> Any:
    """Raises BadInput for a cursor that no answer of ours gave."""
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise BadInput(
            f"cursor {cursor[:40]!r} is not one of ours", code="BAD_CURSOR", path="cursor", hint="ask again without it"
        ) from None
