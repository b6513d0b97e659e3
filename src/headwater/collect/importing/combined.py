"""Web server logs in the combined (or common) format: one request a line.

`name` is `request`, `actor` and `sourceIp` the client's address, `timestamp` the line's time in UTC; attributes are
`method path query protocol status bytes referrer`, where `-` or nothing leaves one out. `path` comes without the query,
`status` and `bytes` are numbers. A request that is no HTTP request line (a TLS hello sent to the plain port, say) has
none of the first four but `request`, with the text as logged. What follows the user agent on a line is not read.
"""

import datetime as dt
import re
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from headwater.collect.importing.lines import lines_of, too_long
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record, bad_line, derived_id, place_of

# Possessive throughout, so that a hostile line costs no more than an honest one of its length. The closing quote of the
# user agent may be missing: servers cut long lines off.
_QUOTED = r'"((?:[^"\\]++|\\.)*+)"'
_LINE = re.compile(
    rf"(\S++) \S++ [^\[]*+\[([^\]]*+)\] {_QUOTED} (\d{{3}}|-) (\d{{1,18}}|-)"
    rf"(?:(?: {_QUOTED}(?: {_QUOTED}?)?)?(?= |$)|(?= |$))"
)
_TIME = re.compile(r"(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_METHOD = re.compile(r"[A-Za-z-]{1,32}", re.ASCII)
_ADDRESS = re.compile(r"[0-9a-fA-F]{0,4}[.:][0-9a-fA-F:.]{1,40}", re.ASCII)
_ESCAPE = re.compile(rb'\\(?:x([89a-fA-F][0-9a-fA-F])|(["\\]))')
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTES_MAX = 10_000


class _Attributes(msgspec.Struct, gc=False):
    method: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    query: str | UnsetType = UNSET
    protocol: str | UnsetType = UNSET
    request: str | UnsetType = UNSET
    status: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    referrer: str | UnsetType = UNSET


class _Metadata(msgspec.Struct, gc=False, rename="camel"):
    source_ip: str | UnsetType
    user_agent: str | UnsetType
    batch_id: str


class _Data(msgspec.Struct, gc=False):
    attributes: _Attributes
    metadata: _Metadata


class _Request(msgspec.Struct, gc=False):
    id: str
    name: str
    source: str
    actor: str
    timestamp: str
    data: _Data


_encode = msgspec.json.Encoder().encode


def read_combined(source: Input, origin: Origin, offset: int = 0, line: int = 0) -> Iterator[Record]:
    """Records from `offset`, before which `line` lines lie."""
    source.skip_to(offset)
    minutes: dict[str, str] = {}
    for number, text, end, is_whole in lines_of(source, line):
        if not is_whole:
            yield Record(number, bad_line(text, *too_long()), end, number)
        elif text and not text.isspace():
            yield Record(number, event_of(text, number, origin, minutes), end, number)


def event_of(text: bytes, number: int, origin: Origin, minutes: dict[str, str]) -> bytes | BadLine:
    """The event of one line. `minutes` remembers the minutes that were met: most lines share theirs with the last."""
    try:
        line = text.decode()
    except UnicodeDecodeError:
        line = text.decode("utf-8", "backslashreplace")
    match = _LINE.match(line)
    if match is None:
        return bad_line(text, "MALFORMED_LINE", "not a line of the combined log format")
    client, time, request, status, size, referrer, agent = match.groups()
    try:
        timestamp = utc_of(time, minutes)
    except ValueError as error:
        return bad_line(text, "INVALID_TIMESTAMP", f"{error}, got {time[:40]!r}")
    attributes = _Attributes()
    _read_request(unescaped(request), attributes)
    if status != "-":
        attributes.status = int(status)
    if size != "-":
        attributes.bytes = int(size)
    if referrer and referrer != "-":
        attributes.referrer = unescaped(referrer)
    address = client if _ADDRESS.fullmatch(client) else UNSET
    user_agent = unescaped(agent) if agent and agent != "-" else UNSET
    metadata = _Metadata(address, user_agent, place_of(origin, number))
    event_id = derived_id(origin.source, number, text)
    return _encode(_Request(event_id, origin.name, origin.source, client, timestamp, _Data(attributes, metadata)))


def utc_of(time: str, minutes: dict[str, str]) -> str:
    """`17/May/2015:10:05:03 +0200` as RFC 3339 in UTC. Raises ValueError saying what is expected."""
    minute = time[:17] + time[20:]
    prefix = minutes.get(minute)
    second = time[18:20]
    if prefix is None or not ("00" <= second <= "59" and second.isascii() and second.isdigit()):
        match = _TIME.fullmatch(time)
        if match is None or match[2] not in _MONTHS:
            raise ValueError("expected a time such as 17/May/2015:10:05:03 +0000")
        shift = dt.timedelta(hours=int(match[8]), minutes=int(match[9]))
        zone = dt.timezone(shift if match[7] == "+" else -shift)
        day, year, hour, of_hour, of_minute = (int(match[group]) for group in (1, 3, 4, 5, 6))
        instant = dt.datetime(year, _MONTHS.index(match[2]) + 1, day, hour, of_hour, of_minute, tzinfo=zone)
        try:
            prefix = f"{instant.astimezone(dt.UTC).isoformat()[:17]}"
        except OverflowError:
            raise ValueError("expected a time in the years 1 to 9999") from None
        if len(minutes) >= _MINUTES_MAX:
            minutes.clear()
        minutes[minute] = prefix
    return f"{prefix}{second}Z"


def unescaped(text: str) -> str:
    r"""Without the server's escapes: `\"`, `\\`, and `\xc3\xbc` where it is UTF-8. Control characters stay escaped."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_plain, text.encode("utf-8", "surrogatepass"))
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return text


def _plain(match: re.Match[bytes]) -> bytes:
    return match[2] or bytes.fromhex(match[1].decode())


def _read_request(request: str, into: _Attributes) -> None:
    if request in ("", "-"):
        return
    method, _, rest = request.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not protocol.startswith("HTTP/"):
        # HTTP/0.9 has no protocol, and no blank in its target either.
        target, protocol = ("", "") if target else (rest, "")
    if not target or not _METHOD.fullmatch(method):
        into.request = request
        return
    into.method = method
    into.path, _, query = target.partition("?")
    if query:
        into.query = query
    if protocol:
        into.protocol = protocol
