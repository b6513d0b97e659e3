"""The formats by name, and which one a file's name speaks of."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from headwater.collect.importing.combined import read_combined
from headwater.collect.importing.csv_rows import Columns, read_csv
from headwater.collect.importing.json_array import read_json
from headwater.collect.importing.ndjson import read_ndjson
from headwater.collect.importing.opening import Input, plain_name
from headwater.collect.importing.records import Origin, Record
from headwater.domain.errors import BadInput

SOURCE_CHARACTERS_MAX = 256
FILE_CHARACTERS_MAX = 200
"""So that `<file>:<line>` fits into a `batchId`."""

Read = Callable[[Input, Origin, int, int], Iterator[Record]]


class Format(NamedTuple):
    read: Read
    name: str
    """Of events that bring no name."""


FORMATS: Mapping[str, Format] = {
    "combined": Format(read_combined, "request"),
    "ndjson": Format(read_ndjson, "event"),
    "json": Format(read_json, "event"),
    "csv": Format(read_csv, "row"),
}
_SUFFIXES = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".log": "combined",
}


def format_of(path: Path) -> str:
    """The format that the file's name ends in, `.gz` and `.zst` aside. Raises BadInput for a name that tells none."""
    suffix = Path(plain_name(path)).suffix.lower()
    if suffix not in _SUFFIXES:
        raise BadInput(
            f"the name of {path} tells no format; say --format {'|'.join(FORMATS)}",
            code="UNKNOWN_FORMAT",
            value=str(path),
        )
    return _SUFFIXES[suffix]


def reader_of(name: str, columns: Columns) -> Read:
    if name not in FORMATS:
        raise BadInput(f"unknown format {name!r}; known: {', '.join(FORMATS)}", code="UNKNOWN_FORMAT", value=name)
    return partial(read_csv, columns=columns) if name == "csv" else FORMATS[name].read


def origin_of(path: Path, format_name: str, source: str | None) -> Origin:
    name = plain_name(path)
    return Origin(name[:FILE_CHARACTERS_MAX], source or name[:SOURCE_CHARACTERS_MAX], FORMATS[format_name].name)
