"""Every setting of the house: one frozen struct a room, the unit in each name, the doc line beside it.

Later wins: defaults < TOML file (`<data>/headwater.toml`, or --config FILE) < `HEADWATER_<ROOM>__<KEY>` < flags.
Only `cli`, `demo` and `boot` import this; rooms get plain arguments. Sizes are integers, or text like "10 MiB";
durations are numbers in the unit that the name says; lists in the environment are separated by commas.
"""

import ipaddress
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Meta

from headwater.domain.errors import BadInput
from headwater.domain.reading import nearest
from headwater.storage.urls import without_secret

FILE_NAME = "headwater.toml"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

SECRET = {"secret": True}
"""Shown as `***`; may come from a file named in `HEADWATER_<ROOM>__<KEY>_FILE`."""
FLAG_ONLY = {"flag_only": True}
"""For one start: a file or the environment would say it at every start."""


class Server(msgspec.Struct, frozen=True):
    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 finds a free one.")] = 8080
    data: Annotated[str, Meta(min_length=1, description="Data folder.")] = "./headwater-data"
    open: Annotated[bool, Meta(description="Ask for no credentials; loopback hosts only.")] = False
    role: Annotated[
        Literal["all", "collect", "process,api"], Meta(description="What this process does on the data folder.")
    ] = "all"
    decode_workers: Annotated[int, Meta(ge=0, le=64, description="Child processes that decode events.")] = 0
    trusted_proxies: Annotated[
        tuple[str, ...], Meta(max_length=100, description="Addresses and networks whose X-Forwarded-For is believed.")
    ] = ()
    body_seconds_max: Annotated[float, Meta(gt=0, description="Time in which a request's body must be here.")] = 30
    answer_seconds_max: Annotated[
        float, Meta(gt=0, description="Time an answer waits for a client that takes nothing of it.")
    ] = 60
    connections_max: Annotated[int, Meta(ge=1, description="Connections held at once; more are refused.")] = 10_000
    new_log: Annotated[
        bool,
        Meta(description="Begin a new log where the old one is gone; what that loses is said.", extra=FLAG_ONLY),
    ] = False
    lake_gap: Annotated[
        bool, Meta(description="Go on where neither lake nor log has some events; how many is said.", extra=FLAG_ONLY)
    ] = False


class Collect(msgspec.Struct, frozen=True):
    body_bytes_max: Annotated[int, Meta(ge=KIB, description="Size of a request's body as sent.")] = 10 * MIB
    expanded_bytes_max: Annotated[int, Meta(ge=KIB, description="Size of a body once decompressed.")] = 50 * MIB
    batch_events_max: Annotated[int, Meta(ge=1, le=10_000, description="Events in one request.")] = 10_000
    event_bytes_max: Annotated[int, Meta(ge=KIB, description="Size of one event.")] = MIB
    attributes_max: Annotated[int, Meta(ge=1, description="Attributes of one event, nested ones included.")] = 1000
    depth_max: Annotated[int, Meta(ge=2, le=500, description="Depth of nesting in one event.")] = 100
    string_bytes_max: Annotated[int, Meta(ge=256, description="Size of one text in an event.")] = 256 * KIB
    events_per_second: Annotated[float, Meta(gt=0, description="Rate per key that names none.")] = 100_000
    events_burst: Annotated[int, Meta(ge=1, description="Events at once per key, then the rate holds.")] = 200_000
    in_bytes_per_second: Annotated[int, Meta(ge=KIB, description="Body bytes per ingest key.")] = 10 * MIB
    sources_max: Annotated[int, Meta(ge=1, description="Sources a project; the rest is (other) in the ledger.")] = 1000
    unknown_events: Annotated[
        Literal["allow", "warn", "quarantine"], Meta(description="Events without a schema, in new projects.")
    ] = "allow"
    inflight_bytes_max: Annotated[int, Meta(ge=MIB, description="Bodies held in memory at once.")] = 256 * MIB
    ack_wait_seconds: Annotated[
        float, Meta(ge=0, le=60, description="How long an acknowledgement waits at the soft bound of the backlog.")
    ] = 2
    quarantine_events_per_day: Annotated[
        int, Meta(ge=0, description="Events per key kept in quarantine a day; more count as suppressed.")
    ] = 100_000


class Log(msgspec.Struct, frozen=True):
    url: Annotated[str, Meta(description="Where the logs are; empty = in the data folder.", extra=SECRET)] = ""
    segment_bytes: Annotated[int, Meta(ge=MIB, description="A segment this large is closed.")] = 64 * MIB
    bytes_max: Annotated[int, Meta(ge=MIB, description="Size of a log above which finished segments go.")] = 8 * GIB
    age_hours_max: Annotated[float, Meta(gt=0, description="Age at which finished segments go.")] = 72
    queue_bytes_max: Annotated[int, Meta(ge=MIB, description="Bytes waiting to be written.")] = 64 * MIB
    lag_events_soft: Annotated[int, Meta(ge=1, description="Backlog at which acknowledgements wait.")] = 60_000
    lag_events_hard: Annotated[int, Meta(ge=1, description="Backlog at which requests are refused.")] = 5_000_000
    free_bytes_min: Annotated[int, Meta(ge=0, description="Free disk below which requests are refused.")] = 256 * MIB


class Process(msgspec.Struct, frozen=True):
    linger_ms: Annotated[float, Meta(ge=0, le=10_000, description="Waits this long for more before a load.")] = 50
    events_per_load_max: Annotated[int, Meta(ge=1, description="Events in one load transaction.")] = 20_000


class Lake(msgspec.Struct, frozen=True):
    url: Annotated[str, Meta(description="Where the lakes are; empty = in the data folder.", extra=SECRET)] = ""
    seal_events: Annotated[int, Meta(ge=1, description="Events at which a file is written.")] = 50_000
    seal_seconds: Annotated[float, Meta(gt=0, description="Age of the oldest event at which it is written.")] = 300
    history_days: Annotated[
        float, Meta(ge=0, le=36_500, description="How far back versions can be asked; older files are deleted.")
    ] = 7


class Warehouse(msgspec.Struct, frozen=True):
    url: Annotated[str, Meta(description="Where the warehouses are; empty = in the data folder.", extra=SECRET)] = ""
    memory_bytes_max: Annotated[
        int, Meta(ge=192 * MIB, description="Memory shared by open projects; each has 192 MiB or more of it.")
    ] = 384 * MIB
    threads: Annotated[int, Meta(ge=1, le=1024, description="Threads of one query or load.")] = 2
    seal_rows: Annotated[int, Meta(ge=1, description="Hot rows at which they are sealed.")] = 375_000
    seal_age_seconds: Annotated[float, Meta(gt=0, description="Age of the oldest hot row at which also.")] = 3600
    seal_rows_min: Annotated[int, Meta(ge=1, description="But not fewer rows than this.")] = 30_000
    wal_bytes_max: Annotated[int, Meta(ge=MIB, description="Write-ahead log at which a checkpoint is made.")] = (
        128 * MIB
    )


class Catalog(msgspec.Struct, frozen=True):
    url: Annotated[str, Meta(description="Where the catalog is; empty = in the data folder.", extra=SECRET)] = ""


class Engine(msgspec.Struct, frozen=True):
    seconds_max: Annotated[float, Meta(gt=0, description="Time of one question.")] = 30
    points_max: Annotated[int, Meta(ge=1, description="Points of one answer: buckets times groups.")] = 100_000


class Observe(msgspec.Struct, frozen=True):
    journal: Annotated[
        Literal["auto", "json", "console"], Meta(description="Form of the journal; auto = console on a terminal.")
    ] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level written.")] = "info"
    metrics_allow: Annotated[
        tuple[str, ...], Meta(max_length=100, description="Addresses and networks that read /metrics without a key.")
    ] = ()
    ledger_seconds: Annotated[
        float, Meta(gt=0, description="Time between two looks whether a project's ledger balances.")
    ] = 30


class Projects(msgspec.Struct, frozen=True):
    open_max: Annotated[int, Meta(ge=1, description="Projects open at once in one process.")] = 100
    idle_minutes: Annotated[float, Meta(gt=0, description="A project unused this long is closed.")] = 10


class Jobs(msgspec.Struct, frozen=True):
    lane_jobs_max: Annotated[
        int, Meta(ge=1, le=64, description="Jobs of one lane at once; lanes that work on the stores run one.")
    ] = 2
    queued_max: Annotated[int, Meta(ge=1, description="Jobs of one project that wait; more are refused.")] = 1000
    lease_seconds: Annotated[
        float, Meta(ge=1, le=60, description="Silence after which a job is taken from its worker.")
    ] = 4
    history_days: Annotated[float, Meta(gt=0, description="Age at which finished jobs are forgotten.")] = 30
    history_jobs_max: Annotated[int, Meta(ge=1, description="Finished jobs kept of one project.")] = 1000


class Setting(NamedTuple):
    """One line of `headwater config`."""

    name: str
    value: Any
    """As in force; secrets as `***`."""
    origin: str
    """`default`, the file's path, `$NAME` or `--flag`."""
    doc: str


class Settings(msgspec.Struct, frozen=True):
    server: Server = Server()
    collect: Collect = Collect()
    log: Log = Log()
    process: Process = Process()
    lake: Lake = Lake()
    warehouse: Warehouse = Warehouse()
    catalog: Catalog = Catalog()
    engine: Engine = Engine()
    observe: Observe = Observe()
    projects: Projects = Projects()
    jobs: Jobs = Jobs()
    origins: dict[str, str] = {}
    """Where each setting that is not a default came from, by dotted name."""

    def describe(self) -> list[Setting]:
        """Every setting in the order of this file."""
        return [
            Setting(name, _shown(field, self.value(name)), self.origins.get(name, "default"), _doc(field))
            for name, field in _FIELDS.items()
        ]

    def value(self, name: str) -> Any:
        """The value of a dotted name as `log.url`."""
        room, _, key = name.partition(".")
        return getattr(getattr(self, room), key)


_ROOMS: dict[str, Any] = {
    field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "origins"
}
_FIELDS: dict[str, msgspec.structs.FieldInfo] = {
    f"{room}.{field.name}": field for room, kind in _ROOMS.items() for field in msgspec.structs.fields(kind)
}

AT_MOST = (
    ("collect.body_bytes_max", "collect.expanded_bytes_max"),
    ("collect.string_bytes_max", "collect.event_bytes_max"),
    ("collect.event_bytes_max", "collect.expanded_bytes_max"),
    ("collect.batch_events_max", "collect.events_burst"),
    ("collect.expanded_bytes_max", "collect.inflight_bytes_max"),
    ("collect.expanded_bytes_max", "log.queue_bytes_max"),
    ("log.segment_bytes", "log.bytes_max"),
    ("log.lag_events_soft", "log.lag_events_hard"),
    ("warehouse.seal_rows_min", "warehouse.seal_rows"),
)
"""The first of each pair is never above the second: else what the one allows the other would always refuse."""


def load(
    *, flags: Mapping[str, Any] | None = None, file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings in force, checked fully. `flags` by dotted name (`server.port`); `environ` None = the process's.

    Raises BadInput naming the setting, where it came from and the cure; secrets are not in the message.
    """
    flags = flags or {}
    environ = os.environ if environ is None else environ
    given: dict[str, tuple[Any, str]] = {}
    given.update(_from_file(file, flags, environ))
    given.update(_from_environment(environ))
    for name, value in flags.items():
        origin = "--" + name.partition(".")[2].replace("_", "-")
        _check_known(name, origin)
        given[name] = (value, origin)
    rooms: dict[str, dict[str, Any]] = {room: {} for room in _ROOMS}
    for name, (value, origin) in given.items():
        room, _, key = name.partition(".")
        rooms[room][key] = _converted(name, value, origin)
    settings = Settings(
        **{room: kind(**rooms[room]) for room, kind in _ROOMS.items()},
        origins={name: origin for name, (_, origin) in given.items()},
    )
    _check_relations(settings)
    return settings


def _from_file(
    file: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[tuple[str, tuple[Any, str]]]:
    path = file
    if path is None:
        data = flags.get("server.data") or environ.get("HEADWATER_SERVER__DATA") or Server().data
        path = Path(data) / FILE_NAME
        if not path.exists():
            return
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"settings file {path}: {reason}", code="BAD_SETTINGS_FILE", path=str(path)) from error
    for room, table in tables.items():
        if not isinstance(table, dict):
            _check_known(room, str(path))
        for key, value in table.items():
            name = f"{room}.{key}"
            _check_known(name, str(path))
            if name == "server.data" and file is None:
                raise BadInput(
                    f"server.data in {path}: this file is found by the data folder and can't move it; use --data, "
                    "$HEADWATER_SERVER__DATA, or a file given with --config",
                    code="BAD_SETTING",
                    path=name,
                )
            _check_repeatable(name, str(path))
            yield name, (value, str(path))


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Only names with `__`: a cluster makes others by itself, such as HEADWATER_SERVER_PORT of a service."""
    for variable in sorted(environ):
        room, between, key = variable.removeprefix("HEADWATER_").lower().partition("__")
        if not variable.startswith("HEADWATER_") or not between:
            continue
        name, origin, value = f"{room}.{key}", f"${variable}", environ[variable]
        base = name.removesuffix("_file")
        if name not in _FIELDS and base in _FIELDS and _is_secret(_FIELDS[base]):
            if variable.removesuffix("_FILE") in environ:
                raise BadInput(
                    f"{base} is given twice, by {origin} and {origin.removesuffix('_FILE')}; keep one",
                    code="BAD_SETTING",
                    path=base,
                )
            try:
                name, value = base, Path(value).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"{base} from {origin}: cannot read {value}: {error}", code="BAD_SETTING") from error
        _check_known(name, origin)
        _check_repeatable(name, origin)
        yield name, (value, origin)


def _check_known(name: str, origin: str) -> None:
    if name in _FIELDS:
        return
    near = nearest(name, _FIELDS)
    cure = f"did you mean {near!r}?" if near else f"rooms are {', '.join(_ROOMS)}; 'headwater config' lists all"
    raise BadInput(
        f"unknown setting {name!r} from {origin}; {cure}",
        code="UNKNOWN_SETTING",
        path=name,
        hint=near,
    )


def _check_repeatable(name: str, origin: str) -> None:
    if _extra(_FIELDS[name]).get("flag_only"):
        raise BadInput(
            f"{name} from {origin}: it is for one start only; give it as a flag", code="BAD_SETTING", path=name
        )


def _converted(name: str, value: Any, origin: str) -> Any:
    field = _FIELDS[name]
    inner = get_args(field.type)[0]
    found = value
    if isinstance(value, str) and "bytes" in name and inner is int:
        found = _size(value)
    elif isinstance(value, str) and get_origin(inner) is tuple:
        found = [part.strip() for part in value.split(",") if part.strip()]
    try:
        converted = msgspec.convert(found, field.type, strict=not (isinstance(found, str) and origin.startswith("$")))
        if isinstance(converted, float) and not math.isfinite(converted):
            raise msgspec.ValidationError("Expected a finite number")
    except msgspec.ValidationError as error:
        raise _wrong(name, value, origin, _expected(inner, str(error))) from error
    if name in ("server.trusted_proxies", "observe.metrics_allow"):
        for network in converted:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError as error:
                raise _wrong(name, network, origin, "addresses or networks like 10.0.0.0/8") from error
    return converted


def _expected(kind: Any, message: str) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    expected = message.partition(" - at")[0].partition(", got")[0].replace("`", "")
    return expected.removeprefix("Expected ")


def _size(text: str) -> int | str:
    """Bytes of "10 MiB"; the text itself where it is no size, for the message."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?b|b)?\s*", text.lower())
    if match is None:
        return text
    unit = match[2] or "b"
    step = 1024 if "i" in unit else 1000
    return int(float(match[1]) * step ** "bkmgt".index(unit[0])) if unit != "b" else int(float(match[1]))


def _wrong(name: str, value: Any, origin: str, expected: str) -> BadInput:
    shown = "***" if _is_secret(_FIELDS[name]) else repr(value)[:80]
    return BadInput(f"{name} from {origin}: expected {expected}, got {shown}", code="BAD_SETTING", path=name)


def _check_relations(settings: Settings) -> None:
    def said(name: str) -> str:
        return f"{name} ({settings.value(name)}, {settings.origins.get(name, 'default')})"

    for low, high in AT_MOST:
        if settings.value(low) > settings.value(high):
            raise BadInput(
                f"{said(low)} must be at most {said(high)}; change one of them", code="BAD_SETTING", path=low
            )
    if settings.server.open and not _is_loopback(settings.server.host):
        raise BadInput(
            f"--open asks for no credentials, so it serves loopback addresses only, not {settings.server.host!r}",
            code="OPEN_NOT_LOOPBACK",
            path="server.open",
            hint="drop --open and use keys, or drop --host",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(field: msgspec.structs.FieldInfo, value: Any) -> Any:
    if not _is_secret(field) or not value:
        return value
    try:
        return without_secret(value) if "://" in value else "***"
    except ValueError:  # not an address after all
        return "***"


def _doc(field: msgspec.structs.FieldInfo) -> str:
    (meta,) = get_args(field.type)[1:]
    return str(meta.description)


def _extra(field: msgspec.structs.FieldInfo) -> Mapping[str, Any]:
    (meta,) = get_args(field.type)[1:]
    return meta.extra or {}


def _is_secret(field: msgspec.structs.FieldInfo) -> bool:
    return bool(_extra(field).get("secret"))
