"""CSV with a header row: columns become fields of events by their names, all others become attributes.

Columns named like a field (`id type name source actor timestamp version sessionId sourceIp userAgent batchId`; case and
underscores don't matter) are that field; a mapping may say otherwise: column → field, `attributes.<name>`, or `-` for
leaving it out. An empty cell is a missing value.

A cell that becomes an attribute is read as: `true` or `false` in any case → that; a decimal number as JSON writes it,
of at most 15 digits → the number, digit for digit; anything else → text. So `007`, `1e5000`, `1,5`, `NaN`, and long
card or phone numbers stay texts. Delimiters are `,` `;` tab or `|`, whichever the header has most of.
"""

import csv
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw

from headwater.collect.importing.lines import Line, lines_of, too_long
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record, bad_line, derived_id, place_of
from headwater.domain.errors import BadInput
from headwater.domain.timerange import zone_of

COLUMNS_MAX = 1000
TOP = ("id", "type", "name", "source", "actor", "timestamp", "version")
METADATA = ("sessionId", "sourceIp", "userAgent", "batchId")
ATTRIBUTES = "attributes."

_FIELDS = {field.lower(): field for field in (*TOP, *METADATA)}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Columns(NamedTuple):
    """How to read columns. `time_zone` is that of timestamps that name none; without it the collector refuses these."""

    mapping: Mapping[str, str] = {}
    time_zone: str | None = None


BY_NAME = Columns()


class _Rows:
    """Lines for csv.reader, which remember what a row was made of, and take lines back after a broken one."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: list[Line] = []
        self.taken: list[Line] = []

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self.taken.append(line)
        if not line.is_whole:
            raise _Broken(*too_long())
        try:
            return line.text.decode() + "\n"
        except UnicodeDecodeError as error:
            detail = f"byte {error.start} is not UTF-8; convert the file to UTF-8"
            raise _Broken("NOT_UTF8", detail) from None

    def give_back_all_but_first(self) -> Line:
        """The first line of a broken row; the others are read again as rows of their own."""
        first, *others = self.taken
        self._again.extend(reversed(others))
        return first


class _Broken(Exception):
    """(code, detail) of a line that can't be given to csv.reader."""


def read_csv(
    source: Input, origin: Origin, offset: int = 0, line: int = 0, columns: Columns = BY_NAME
) -> Iterator[Record]:
    """Records from `offset`, before which `line` lines lie; the header is always read from the beginning.

    Raises BadInput for a header that can't be used.
    """
    zone = None if columns.time_zone is None else zone_of(columns.time_zone)
    first = next(lines_of(source), None)
    if first is None or not first.text.strip():
        raise _unusable(source, "it has no header row")
    delimiter = max(",;\t|", key=first.text.decode("utf-8", "replace").count)
    header = _header(first, delimiter, source)
    targets = targets_of(header, columns.mapping)
    make = _maker(targets, zone, origin)
    # The block that held the header was read ahead: begin again behind it.
    source.rewind()
    source.skip_to(max(offset, first.end))
    yield from _records(source, max(line, 1), delimiter, make)


def _records(
    source: Input, before: int, delimiter: str, make: "Callable[[list[str], int, bytes], bytes | BadLine]"
) -> Iterator[Record]:
    rows = _Rows(lines_of(source, before))
    reader = csv.reader(rows, delimiter=delimiter, strict=True)
    while True:
        rows.taken = []
        try:
            row = next(reader)
        except StopIteration:
            return
        except _Broken as error:
            code, detail = error.args
        except csv.Error as error:
            code, detail = "MALFORMED_LINE", f"not a row of CSV: {error}"
        else:
            if row:
                text = b"\n".join(line.text for line in rows.taken)
                number, last = rows.taken[0].number, rows.taken[-1]
                yield Record(number, make(row, number, text), last.end, last.number)
            continue
        line = rows.give_back_all_but_first()
        yield Record(line.number, bad_line(line.text, code, detail), line.end, line.number)


def targets_of(header: list[str], mapping: Mapping[str, str]) -> list[str]:
    """What each column becomes: a field, `attributes.<name>`, or `` for nothing. Raises BadInput."""
    for column in mapping:
        if column not in header:
            raise BadInput(f"no column {column!r} to map; the file has: {', '.join(header)}"[:500], value=column)
    targets = [_target(column, mapping.get(column)) for column in header]
    known = [target for target in targets if target]
    for target in known:
        if known.count(target) > 1:
            raise BadInput(f"two columns become {target!r}; map one of them to another field, or to `-`", value=target)
    return targets


def cell_value(cell: str) -> Raw | str | bool:
    """A cell as an attribute's value: see the rules above. Never raises."""
    if _NUMBER.fullmatch(cell) and sum(map(str.isdigit, cell.partition("e")[0].partition("E")[0])) <= 15:
        return Raw(cell.encode())
    if len(cell) < 6 and cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    return cell


def _target(column: str, mapped: str | None) -> str:
    if mapped == "-":
        return ""
    if mapped is None:
        field = _FIELDS.get(column.strip().lower().replace("_", ""))
        return field or ATTRIBUTES + column.removeprefix(ATTRIBUTES)
    if mapped in _FIELDS.values() or (mapped.startswith(ATTRIBUTES) and mapped != ATTRIBUTES):
        return mapped
    known = ", ".join((*TOP, *METADATA))
    raise BadInput(f"column {column!r} can't become {mapped!r}; known: {known}, attributes.<name>, -", value=mapped)


def _maker(
    targets: list[str], zone: dt.tzinfo | None, origin: Origin
) -> "Callable[[list[str], int, bytes], bytes | BadLine]":
    width = len(targets)
    top = [(number, target) for number, target in enumerate(targets) if target in TOP]
    metadata = [(number, target) for number, target in enumerate(targets) if target in METADATA]
    prefix = len(ATTRIBUTES)
    attributes = [(number, target[prefix:]) for number, target in enumerate(targets) if target.startswith(ATTRIBUTES)]

    def make(row: list[str], number: int, text: bytes) -> bytes | BadLine:
        if len(row) != width:
            return bad_line(text, "MALFORMED_LINE", f"{len(row)} cells in a row of {width} columns")
        event: dict[str, object] = {target: row[column] for column, target in top if row[column]}
        if "type" not in event:
            event.setdefault("name", origin.name)
        source = event.setdefault("source", origin.source)
        if "id" not in event:
            event["id"] = derived_id(str(source), number, text)
        if zone is not None and "timestamp" in event:
            event["timestamp"] = zoned(str(event["timestamp"]), zone)
        event["data"] = {
            "attributes": {name: cell_value(row[column]) for column, name in attributes if row[column]},
            "metadata": {"batchId": place_of(origin, number)}
            | {target: row[column] for column, target in metadata if row[column]},
        }
        return _encode(event)

    return make


def zoned(text: str, zone: dt.tzinfo) -> str:
    """A time without a zone as RFC 3339 with that one; any other text unchanged."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if time.tzinfo else time.replace(tzinfo=zone).isoformat()


def _header(line: Line, delimiter: str, source: Input) -> list[str]:
    try:
        header = next(csv.reader([line.text.decode() + "\n"], delimiter=delimiter, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise _unusable(source, f"its header row can't be read: {error}") from error
    if len(header) > COLUMNS_MAX:
        raise _unusable(source, f"it has {len(header)} columns, more than {COLUMNS_MAX}")
    if not all(column.strip() for column in header):
        raise _unusable(source, "a column of its header row has no name")
    return header


def _unusable(source: Input, why: str) -> BadInput:
    return BadInput(f"{source.path} can't be read as CSV: {why}", code="UNREADABLE_FILE", value=str(source.path))
