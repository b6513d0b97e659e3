"""Declared shapes of events: JSON Schema 2020-12 for `data.attributes`, by event name and version.

A schema is compiled twice. To a msgspec Struct, where its shape can be said so: that accepts a right event at C speed
and never accepts a wrong one, though it may refuse a right one (`1.0` for an integer). What it refuses goes to
jsonschema-rs, which has the last word and tells what is wrong. The library is imported only when it is needed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from headwater.domain.errors import BadInput
from headwater.domain.reading import read
from headwater.domain.shapes import Strictness, decoder_of
from headwater.domain.values import path_of, shown

if TYPE_CHECKING:
    import jsonschema_rs

MODES = ("off", "warn", "enforce")
UNKNOWN = ("allow", "warn", "quarantine")
SCHEMA_BYTES_MAX = 64 * 1024
PATTERN_BYTES_MAX = 1024
"""Longest regular expression. Patterns run on a linear engine (no look-around, no back-references), 1 MB compiled."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNREADABLE_NUMBER = "a number can't be read: beyond every float, or of more than 4,300 digits"

S = TypeVar("S", bound="Schema")


class Schema(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: str
    json_schema: dict[str, Any]
    version: str = "1"
    mode: str = "enforce"
    """`off`: not looked at; `warn`: told, stored; `enforce`: quarantined."""
    unknown_fields: str = "allow"
    """What an attribute that the schema's `properties` don't name is: allowed, told, or quarantined."""


class Finding(NamedTuple):
    """One thing wrong with an event's attributes."""

    code: str
    path: str
    """From the attributes on: `.price`, `["a b"][0]`, empty for the attributes themselves."""
    message: str
    quarantine: bool
    """False: a warning, the event is stored."""
    keys: tuple[str | int, ...] = ()
    """The path as keys and indices, uncut."""


class Rules:
    """All schemas of a project as of one catalog revision. Immutable; safe to share between threads."""

    def __init__(self, schemas: Iterable[Schema], unknown_events: str = "allow", revision: int = 0) -> None:
        if unknown_events not in UNKNOWN:
            raise BadInput(f"unknown_events: expected one of {', '.join(UNKNOWN)}, got {unknown_events!r}")
        self.unknown_events = unknown_events
        self.revision = revision
        self._compiled = {(schema.name, schema.version): Compiled(schema) for schema in schemas}
        self._names = {name for name, _ in self._compiled}
        self.applies = unknown_events != "allow" or any(c.schema.mode != "off" for c in self._compiled.values())
        """False where `check` would find nothing whatever comes: the collector then skips it."""

    def check(self, name: str, version: str, attributes: Raw | bytes) -> list[Finding]:
        """What is wrong with an event; empty for a right one (0.3 µs where its schema is a Struct, else 2-5 µs)."""
        compiled = self._compiled.get((name, version))
        if compiled is not None:
            return compiled.check(attributes)
        if self.unknown_events == "allow":
            return []
        quarantine = self.unknown_events == "quarantine"
        if name in self._names:
            message = f"version {shown(version)} of {shown(name)} has no schema; declare it under /api/v1/schemas"
            return [Finding("UNKNOWN_VERSION", "", message, quarantine)]
        message = f"{shown(name)} has no schema; declare it under /api/v1/schemas"
        return [Finding("UNKNOWN_EVENT", "", message, quarantine)]


def rules_from(bodies: Iterable[Mapping[str, Any]], unknown_events: str = "allow", revision: int = 0) -> Rules:
    """Rules from schema bodies as the catalog keeps them. Raises BadInput for one that is not right."""
    return Rules([schema_of(body) for body in bodies], unknown_events, revision)


def schema_of(body: Mapping[str, Any]) -> Schema:
    """A schema as the catalog keeps it; its content is not looked at. Raises BadInput."""
    return read(Schema, _with_text_version(body))


def parse_schema(body: Mapping[str, Any]) -> Schema:
    """A schema as a person sends it, checked through. Raises BadInput with the path of what is wrong.

    `version` may be sent as a number.
    """
    return parse_as(Schema, body)


def parse_as(kind: type[S], body: Mapping[str, Any]) -> S:
    """The same for a document that holds more than the schema."""
    schema = read(kind, _with_text_version(body))
    if not 1 <= len(schema.name) <= 256:
        raise _invalid("$.name", f"expected 1 to 256 characters, got {len(schema.name)}")
    if not VERSION.fullmatch(schema.version):
        raise _invalid("$.version", f"expected letters, digits, '.', '_', '-', at most 64, got {shown(schema.version)}")
    if schema.mode not in MODES:
        raise _invalid("$.mode", f"expected one of {', '.join(MODES)}, got {shown(schema.mode)}")
    if schema.unknown_fields not in UNKNOWN:
        raise _invalid("$.unknownFields", f"expected one of {', '.join(UNKNOWN)}, got {shown(schema.unknown_fields)}")
    size = len(msgspec.json.encode(schema.json_schema))
    if size > SCHEMA_BYTES_MAX:
        raise _invalid("$.jsonSchema", f"{size} bytes; at most {SCHEMA_BYTES_MAX}")
    _check_document(schema.json_schema)
    return schema


class Compiled:
    """One schema, ready to judge."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        strictness = Strictness.ANY_FIELD if schema.unknown_fields == "allow" else Strictness.NAMED_FIELDS
        self._quick = decoder_of(schema.json_schema, strictness)
        self._slow: jsonschema_rs.Draft202012Validator | None = None

    def check(self, attributes: Raw | bytes) -> list[Finding]:
        if self.schema.mode == "off":
            return []
        if self._quick is not None:
            try:
                self._quick.decode(attributes)
            except (msgspec.MsgspecError, RecursionError):
                pass
            else:
                return []
        try:
            value = msgspec.json.decode(attributes)
        except msgspec.MsgspecError:
            # The collector takes attributes as text; of all JSON only such numbers are beyond us.
            return [Finding("SCHEMA_VIOLATION", "", UNREADABLE_NUMBER, self.schema.mode == "enforce")]
        return self._explain(value)

    def _explain(self, value: dict[str, Any]) -> list[Finding]:
        """The first broken rule of the schema, and the attributes it doesn't name. The last word."""
        if self._slow is None:
            self._slow = _validator(self.schema.json_schema)
        findings = []
        error = next(self._slow.iter_errors(value), None)
        if error is not None:
            findings.append(_finding(error, quarantine=self.schema.mode == "enforce"))
        if self.schema.unknown_fields != "allow":
            named = self.schema.json_schema.get("properties", {})
            for field in value:
                if field not in named:
                    quarantine = self.schema.unknown_fields == "quarantine" and self.schema.mode == "enforce"
                    findings.append(_at((field,), "SCHEMA_UNKNOWN_FIELD", "the schema names no such field", quarantine))
        return findings


def _with_text_version(body: Mapping[str, Any]) -> Mapping[str, Any]:
    version = body.get("version")
    return {**body, "version": str(version)} if isinstance(version, int) and not isinstance(version, bool) else body


def format_test(name: str) -> Callable[[str], bool]:
    """Whether a text has a `format` (date-time, uuid, …), by the same word that judges events. 0.35 µs a text."""
    return _validator({"format": name}).is_valid


def _check_document(document: dict[str, Any]) -> None:
    import jsonschema_rs

    if document.get("$schema", DIALECT).rstrip("#") != DIALECT:
        raise _invalid("$.jsonSchema.$schema", f"expected {DIALECT!r}, got {shown(document['$schema'])}")
    _check_words(document, [])
    try:
        _validator(document)
    except jsonschema_rs.ValidationError as error:
        message = error.message[:1].lower() + error.message[1:300]
        raise _invalid("$.jsonSchema" + path_of(error.instance_path), message) from error
    except (ValueError, RecursionError) as error:
        raise _invalid("$.jsonSchema", str(error)[:300]) from error


def _check_words(part: Any, path: list[str | int]) -> None:
    """References stay inside the document, and patterns are short."""
    if len(path) > 64:
        raise _invalid("$.jsonSchema" + path_of(path), "nested deeper than 64 levels")
    if isinstance(part, dict):
        for word, value in part.items():
            if word in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
                place = "$.jsonSchema" + path_of([*path, word])
                raise _invalid(place, f"expected a reference inside the schema (#/…), got {shown(value)}")
            patterns = [value] if word == "pattern" else [*value] if word == "patternProperties" else []
            for pattern in patterns:
                if isinstance(pattern, str) and len(pattern.encode()) > PATTERN_BYTES_MAX:
                    place = "$.jsonSchema" + path_of([*path, word])
                    raise _invalid(place, f"a pattern of {len(pattern.encode())} bytes; at most {PATTERN_BYTES_MAX}")
            _check_words(value, [*path, word])
    elif isinstance(part, list):
        for index, value in enumerate(part):
            _check_words(value, [*path, index])


def _validator(document: dict[str, Any]) -> "jsonschema_rs.Draft202012Validator":
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        document,
        validate_formats=True,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20),
    )


def _finding(error: "jsonschema_rs.ValidationError", quarantine: bool) -> Finding:
    keys = tuple(error.instance_path)
    match error.kind.name:
        case "type":
            wanted = " or ".join(error.kind.as_dict()["types"])
            return _at(keys, "TYPE_MISMATCH", f"expected {wanted}, got {shown(error.instance)}", quarantine)
        case "required":
            missing = error.kind.as_dict()["property"]
            return _at((*keys, missing), "SCHEMA_MISSING_FIELD", "required, but missing", quarantine)
        case "additionalProperties" | "unevaluatedProperties":
            field = error.kind.as_dict()["unexpected"][0]
            return _at((*keys, field), "SCHEMA_UNKNOWN_FIELD", "the schema allows no such field", quarantine)
        case _:
            message = error.message if len(error.message) <= 300 else error.message[:299] + "…"
            return _at(keys, "SCHEMA_VIOLATION", message, quarantine)


def _at(keys: tuple[str | int, ...], code: str, message: str, quarantine: bool) -> Finding:
    return Finding(code, path_of(keys), message, quarantine, keys)


def _invalid(path: str, why: str) -> BadInput:
    return BadInput(f"{path}: {why}", code="INVALID_SCHEMA", path=path)
