"""API keys: made, listed and revoked in the catalog; who is calling, decided in memory from a snapshot of it."""

import datetime as dt
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Never

import msgspec

from headwater.domain.errors import BadInput, Conflict, Damaged, NotFound, Refused, Unauthenticated, Unavailable
from headwater.domain.keys import ALL_SCOPES, Key, checked_key
from headwater.domain.projects import DEFAULT_PROJECT
from headwater.observe.journal import get_journal
from headwater.security import projects
from headwater.storage.catalog.base import Catalog, every
from headwater.storage.durable import put_in_place

KIND = "key"
KEYS_PER_PROJECT_MAX = 1000
"""Revoked ones included: their ids stand in batches."""

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Digits and small letters without 0, 1, i, l, o: safe in addresses, and to read aloud."""
SECRET_LENGTH = 27
"""31 letters give 4.95 bits each: 133 bits."""
ID_LENGTH = 12

CREDENTIAL_CHARACTERS_MAX = 256
SEEN_MAX = 10_000
REFUSALS_SAID_EVERY_SECONDS = 10

_audit = get_journal("audit")


class Access(msgspec.Struct, frozen=True, gc=False):
    """What a request may do."""

    project: str
    key_id: str
    """`local` and `open` for requests without a key."""
    name: str
    """Source of events that name none."""
    kind: Literal["in", "sk", "local", "open"]
    scopes: frozenset[str]
    sources: tuple[str, ...]
    """Sources it may send events for; empty = any."""
    origins: tuple[str, ...]
    """Web origins it may be used from; empty = any."""
    events_per_second: float | None
    """None = the setting's."""
    events_burst: int | None


class _Known(msgspec.Struct, frozen=True, gc=False):
    access: Access
    expires_at: float | None


class _Snapshot(msgspec.Struct, frozen=True):
    """All that `access` reads: a refresh puts another in its place, and with it forgets `seen`."""

    revision: int
    keys: Mapping[bytes, _Known]
    """By SHA-256 of the whole key: looking one up tells a caller nothing about how near a guess came."""
    local: Mapping[str, Access]
    open: Mapping[str, Access]
    seen: dict[str, _Known]
    """Headers found valid before, to spare the hash: 0.15 us instead of 1.4. Python's own hash of texts is keyed anew
    in each process, so this lookup tells nothing either."""


class Authenticator:
    """Knows every valid key of the catalog as of the last `refresh`, which whoever owns it calls twice a second."""

    def __init__(self, catalog: Catalog, open: bool = False) -> None:
        self.refused = 0
        """Credentials turned away; for a gauge."""
        self._catalog = catalog
        self._open = open
        self._lock = Lock()
        self._said_at = 0.0
        self._said = 0
        self._snapshot = _snapshot(catalog)

    def refresh(self) -> bool:
        """Take over what changed in the catalog; True when something did. Costs < 0.1 ms when nothing did.

        Raises what the catalog raises; then the keys known before stay in force.
        """
        if self._catalog.revision() == self._snapshot.revision:
            return False
        with self._lock:
            self._snapshot = _snapshot(self._catalog)
        return True

    def access(self, authorization: str | None, key: str | None, client: str | None, project: str | None) -> Access:
        """Who is calling, by the header `Authorization`, else by `?key=` (kind `in` only).

        `client` is the caller's address, for the audit journal; `project` is the header X-Headwater-Project. Under
        --open credentials are not looked at. Raises Unauthenticated, in the same words for unknown, revoked and
        expired keys; Refused (PROJECT_FORBIDDEN) for another project than the key's, there or not; NotFound
        (PROJECT_NOT_FOUND) under --open only.
        """
        snapshot = self._snapshot
        if self._open:
            return _of_project(snapshot.open, project)
        if authorization is not None:
            known = snapshot.seen.get(authorization) or _by_header(snapshot, authorization)
        elif key is None:
            self._refuse(client, "no credentials", quiet=True)
        elif key[:6] == "hw_in_":
            known = _by_secret(snapshot, key)
        else:
            self._refuse(client, "only ingest keys (hw_in_…) may be in an address; send others in a header")
        if known is None or (known.expires_at is not None and known.expires_at <= time.time()):
            self._refuse(client, "the key is unknown, revoked or expired")
        access = known.access
        if project is not None and project != access.project:
            raise Refused(f"this key has no access to project {project[:80]!r}", code="PROJECT_FORBIDDEN")
        return access

    def local(self, project: str | None) -> Access:
        """Full rights, for what came by the data folder's own socket. Raises NotFound (PROJECT_NOT_FOUND)."""
        return _of_project(self._snapshot.local, project)

    def _refuse(self, client: str | None, why: str, quiet: bool = False) -> Never:
        self.refused += 1
        now = time.monotonic()
        if not quiet and now - self._said_at >= REFUSALS_SAID_EVERY_SECONDS:
            # One line for many, or a flood of wrong keys would be a flood of lines.
            self._said_at, self._said, since = now, self.refused, self.refused - self._said
            _audit.warning("credentials_refused", client=client, reason=why, refused=since)
        raise Unauthenticated(
            f"{why}; send 'Authorization: Bearer <key>' with a key that 'headwater keys list' shows as valid",
            hint="the first keys are in the file first-keys of the data folder",
        )


def require(access: Access, scope: str) -> None:
    """Raises Refused (SCOPE_MISSING) naming what is needed and what is there."""
    if scope not in access.scopes:
        raise Refused(
            f"this needs the scope {scope!r}; key {access.name!r} has {', '.join(sorted(access.scopes))}",
            code="SCOPE_MISSING",
            value=sorted(access.scopes),
            limit=scope,
        )


def create_key(
    catalog: Catalog,
    project: str,
    *,
    kind: Literal["in", "sk"],
    name: str,
    scopes: Iterable[str] = (),
    sources: Iterable[str] = (),
    origins: Iterable[str] = (),
    events_per_second: float | None = None,
    events_burst: int | None = None,
    expires_at: dt.datetime | None = None,
) -> tuple[Key, str]:
    """A new key and its secret, which for `sk` is nowhere else: only its hash is kept.

    Raises BadInput naming the field, NotFound (PROJECT_NOT_FOUND).
    """
    projects.settings_of(catalog, project)
    if len(list_keys(catalog, project)) >= KEYS_PER_PROJECT_MAX:
        raise BadInput(
            f"project {project!r} has {KEYS_PER_PROJECT_MAX} keys, revoked ones included, which is the limit; use "
            "another project, or one key with several sources",
            code="TOO_MANY_KEYS",
            limit=KEYS_PER_PROJECT_MAX,
        )
    key = Key(
        id=_random(ID_LENGTH),
        project=project,
        kind=kind,
        name=name,
        scopes=tuple(scopes),
        created_at=dt.datetime.now(dt.UTC),
        sources=tuple(sources),
        origins=tuple(origins),
        events_per_second=events_per_second,
        events_burst=events_burst,
        expires_at=expires_at,
    )
    checked = checked_key(key)
    secret = _new_secret(checked.kind)
    return _put_new(catalog, checked, secret), secret


def list_keys(catalog: Catalog, project: str) -> list[Key]:
    """Oldest first, revoked ones included. `in` keys carry their secret."""
    found = [msgspec.convert(stored.body, Key) for stored in every(catalog, KIND, project)]
    return sorted(found, key=lambda key: (key.created_at, key.id))


def revoke_key(catalog: Catalog, project: str, key: str) -> Key:
    """Revoke by id, or by a name that one valid key has; a revoked key is given back as it is.

    Every role refuses it at its next `refresh`. Raises NotFound (KEY_NOT_FOUND), Conflict (KEY_AMBIGUOUS).
    """
    key_id = key if catalog.get(KIND, project, key) else _id_of_name(catalog, project, key)
    while True:
        stored = catalog.get(KIND, project, key_id)
        if stored is None:
            raise _unknown_key(project, key)
        present = msgspec.convert(stored.body, Key)
        if present.revoked_at is not None:
            return present
        revoked = msgspec.structs.replace(present, revoked_at=dt.datetime.now(dt.UTC))
        try:
            catalog.put(KIND, project, key_id, {**stored.body, **_body(revoked)}, if_version=stored.version)
        except Conflict:  # changed by somebody else meanwhile: look again
            continue
        return revoked


def create_first_pair(catalog: Catalog, project: str) -> list[tuple[Key, str]]:
    """The two keys a project begins with: `web` (in) and `server` (sk with all scopes)."""
    return [(_put_new(catalog, key, secret), secret) for key, secret in _first_pair(project)]


def first_keys(catalog: Catalog, data_dir: Path) -> dict[str, str]:
    """At the first start: make the project `default` and its two keys, and write them to `<data_dir>/first-keys`.

    Returns key name → secret to be shown on a terminal; empty at every later start. Several roles may start at once,
    and a start that was killed half-way is done again. Raises Damaged (CATALOG_MISSING) where projects lie in the
    folder that the catalog does not know: going on would give them to new keys under an empty catalog.
    """
    if catalog.get(projects.KIND, projects.OWNER, DEFAULT_PROJECT) is not None:
        return {}
    with _alone(data_dir):
        if catalog.get(projects.KIND, projects.OWNER, DEFAULT_PROJECT) is not None:
            return {}
        _check_new(catalog, data_dir)
        for left_over in every(catalog, KIND, DEFAULT_PROJECT):
            catalog.delete(KIND, DEFAULT_PROJECT, left_over.name)
        pair = _first_pair(DEFAULT_PROJECT)
        secret_of = {key.name: secret for key, secret in pair}
        # The file first, the project last: whatever is interrupted, the keys that work are the keys in the file.
        _write_private(data_dir / "first-keys", _first_keys_text(secret_of))
        for key, secret in pair:
            _put_new(catalog, key, secret)
        projects.create_project(catalog, {"name": DEFAULT_PROJECT})
    return secret_of


def _snapshot(catalog: Catalog) -> _Snapshot:
    # The revision before the keys: what changes while they are read is read again at the next refresh.
    revision = catalog.revision()
    names = [project.name for project in projects.list_projects(catalog)]
    known: dict[bytes, _Known] = {}
    for name in names:
        for stored in every(catalog, KIND, name):
            key = msgspec.convert(stored.body, Key)
            if key.revoked_at is None:
                expires_at = None if key.expires_at is None else key.expires_at.timestamp()
                known[bytes.fromhex(stored.body["hash"])] = _Known(_access(key), expires_at)
    return _Snapshot(
        revision,
        known,
        local={name: _full(name, "local") for name in names},
        open={name: _full(name, "open") for name in names},
        seen={},
    )


def _access(key: Key) -> Access:
    return Access(
        project=key.project,
        key_id=key.id,
        name=key.name,
        kind=key.kind,
        scopes=frozenset(key.scopes),
        sources=key.sources,
        origins=key.origins,
        events_per_second=key.events_per_second,
        events_burst=key.events_burst,
    )


def _full(project: str, kind: Literal["local", "open"]) -> Access:
    return Access(project, kind, kind, kind, ALL_SCOPES, (), (), None, None)


def _of_project(accesses: Mapping[str, Access], project: str | None) -> Access:
    name = DEFAULT_PROJECT if project is None else project
    access = accesses.get(name)
    if access is None:
        raise projects.unknown_project(name)
    return access


def _by_header(snapshot: _Snapshot, authorization: str) -> _Known | None:
    scheme, _, secret = authorization.strip().partition(" ")
    known = _by_secret(snapshot, secret.strip()) if scheme.lower() == "bearer" else None
    if known is not None and len(snapshot.seen) < SEEN_MAX:  # one key may be spelled in many ways
        snapshot.seen[authorization] = known
    return known


def _by_secret(snapshot: _Snapshot, secret: str) -> _Known | None:
    if len(secret) > CREDENTIAL_CHARACTERS_MAX:
        return None
    return snapshot.keys.get(sha256(secret.encode(errors="replace")).digest())


def _new_secret(kind: str) -> str:
    return f"hw_{kind}_{_random(SECRET_LENGTH)}"


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _put_new(catalog: Catalog, key: Key, secret: str) -> Key:
    kept = msgspec.structs.replace(key, secret=secret if key.kind == "in" else None)
    body = {**_body(kept), "hash": sha256(secret.encode()).hexdigest()}
    catalog.put(KIND, key.project, key.id, body, if_version=0)
    return kept


def _body(key: Key) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(key)
    return body


def _id_of_name(catalog: Catalog, project: str, name: str) -> str:
    named = [key for key in list_keys(catalog, project) if key.name == name]
    valid = [key for key in named if key.revoked_at is None]
    if len(valid) > 1:
        raise Conflict(
            f"{len(valid)} valid keys are named {name!r}; name one by its id: {', '.join(key.id for key in valid)}",
            code="KEY_AMBIGUOUS",
            value=name,
        )
    if not named:
        raise _unknown_key(project, name)
    return (valid or named[-1:])[0].id


def _unknown_key(project: str, key: str) -> NotFound:
    return NotFound(f"no key {key[:80]!r} in project {project!r}", code="KEY_NOT_FOUND", value=key[:80])


def _first_pair(project: str) -> list[tuple[Key, str]]:
    now = dt.datetime.now(dt.UTC)
    web = Key(_random(ID_LENGTH), project, "in", "web", ("events:write",), now)
    server = Key(_random(ID_LENGTH), project, "sk", "server", tuple(ALL_SCOPES), now)
    return [(checked_key(key), _new_secret(key.kind)) for key in (web, server)]


def _first_keys_text(secret_of: Mapping[str, str]) -> str:
    return (
        "# The first keys of project default. The secret one is written nowhere else:\n"
        "# put it in a safe place, then delete this file. New keys: headwater keys create\n"
        f"HEADWATER_INGEST_KEY={secret_of['web']}\n"
        f"HEADWATER_KEY={secret_of['server']}\n"
    )


def _check_new(catalog: Catalog, data_dir: Path) -> None:
    folder = data_dir / "projects"
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and catalog.revision() == 0:
        raise Damaged(
            f"the catalog is new, but {folder} holds {', '.join(there[:5])}: catalog.sqlite was lost or replaced; put "
            f"your backup of it back into {data_dir}, or move {folder} away to begin anew",
            code="CATALOG_MISSING",
            path=str(folder),
        )


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go of the lock however this one ends."""
    folder = data_dir / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "first-keys.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_private(path: Path, text: str) -> None:
    """The whole text or nothing, 0600 from the first byte, durable at return."""
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        put_in_place(part, path)
    except OSError as error:
        raise Unavailable(
            f"cannot write {path}: {error.strerror}; free some space and make the data folder writable",
            code="DATA_FOLDER_UNWRITABLE",
            path=str(path),
        ) from error
