"""Events → what was seen at every path of their attributes. Memory is bounded, whatever comes.

Everything that is left out for a bound only ever makes the proposal looser: it accepts each event it was made from.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import msgspec

from headwater.collect.schemas.samples import Sample
from headwater.domain.schemas import format_test

LEVELS_MAX = 7
"""Levels below the attributes that are looked into: what a compiled schema can say."""
PATHS_MAX = 2000
"""Of all versions together: 5 MB."""
FIELDS_MAX = 200
"""Keys of one nested object; with more they are data, such as ids of users."""
ROOT_FIELDS_MAX = 1000
"""As many as `collect.attributes_max`, so that what every event has is always among them."""
KEY_CHARACTERS_MAX = 256
ELEMENTS_MAX = 1000
"""Elements of one list that are looked at."""
VERSIONS_MAX = 20
VALUES_MAX = 20
"""Distinct texts that are remembered of one path."""
VALUE_CHARACTERS_MAX = 100

KINDS: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}


class Format(NamedTuple):
    name: str
    looks: re.Pattern[str]
    """Narrower than the standard: `note:x` is a URI by the letter, and no one means it."""
    holds: Callable[[str], bool]


class Room:
    """What all shapes of one reading may take together, and which bounds were reached."""

    def __init__(self) -> None:
        self.paths = PATHS_MAX
        self.reached: set[str] = set()

    def take(self, level: int) -> bool:
        """Room for one more path?"""
        if level > LEVELS_MAX:
            self.reached.add("levels")
            return False
        if self.paths == 0:
            self.reached.add("paths")
            return False
        self.paths -= 1
        return True


class Texts:
    """The strings at one path."""

    __slots__ = ("formats", "longest", "values")

    def __init__(self) -> None:
        self.longest = 0
        self.values: dict[str, int] | None = {}
        """How often each came; None where there are too many or long ones."""
        self.formats: tuple[Format, ...] = _formats()
        """Those that all have."""

    def add(self, text: str) -> None:
        values = self.values
        if values is not None and text in values:
            values[text] += 1
            return
        if len(text) > self.longest:
            self.longest = len(text)
        if self.formats:
            self.formats = tuple([each for each in self.formats if each.looks.match(text) and each.holds(text)])
        if values is not None:
            if len(values) == VALUES_MAX or len(text) > VALUE_CHARACTERS_MAX:
                self.values = None
            else:
                values[text] = 1


class Shape:
    """What was seen at one path."""

    __slots__ = ("elements", "fields", "fields_max", "kinds", "least", "level", "most", "partial", "room", "texts")

    def __init__(self, room: Room, level: int = 0) -> None:
        self.room = room
        self.level = level
        self.fields_max = FIELDS_MAX if level else ROOT_FIELDS_MAX
        self.kinds: dict[str, int] = {}
        """Values by JSON type."""
        self.fields: dict[str, Shape] = {}
        self.elements: Shape | None = None
        self.partial = False
        """Keys or elements were left out."""
        self.texts: Texts | None = None
        self.least: float | None = None
        self.most: float | None = None

    @property
    def seen(self) -> int:
        return sum(self.kinds.values())

    def add(self, value: Any) -> None:
        kind = KINDS[type(value)]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "string":
            if self.texts is None:
                self.texts = Texts()
            self.texts.add(value)
        elif kind == "object":
            self._add_fields(value)
        elif kind == "integer" or kind == "number":
            if self.least is None or value < self.least:
                self.least = value
            if self.most is None or value > self.most:
                self.most = value
        elif kind == "array":
            self._add_elements(value)

    def _add_fields(self, value: dict[str, Any]) -> None:
        fields = self.fields
        for key, each in value.items():
            shape = fields.get(key)
            if shape is None:
                shape = self._field(key)
                if shape is None:
                    continue
            shape.add(each)

    def _field(self, key: str) -> "Shape | None":
        if len(self.fields) == self.fields_max or len(key) > KEY_CHARACTERS_MAX:
            self.room.reached.add("fields" if len(key) <= KEY_CHARACTERS_MAX else "keyCharacters")
            self.partial = True
            return None
        if not self.room.take(self.level + 1):
            self.partial = True
            return None
        shape = self.fields[key] = Shape(self.room, self.level + 1)
        return shape

    def _add_elements(self, value: list[Any]) -> None:
        elements = self.elements
        if elements is None:
            if not value:
                return
            if self.partial or not self.room.take(self.level + 1):
                self.partial = True
                return
            elements = self.elements = Shape(self.room, self.level + 1)
        if len(value) > ELEMENTS_MAX:
            self.room.reached.add("elements")
            self.partial = True
            value = value[:ELEMENTS_MAX]
        for each in value:
            elements.add(each)


class Learned:
    """What was learned of the events of one version."""

    def __init__(self, version: str, room: Room) -> None:
        self.version = version
        self.root = Shape(room)
        self.events = 0
        self.first_us = self.last_us = 0

    def add(self, occurred_us: int, attributes: dict[str, Any]) -> None:
        if not self.events:
            self.first_us = self.last_us = occurred_us
        self.first_us, self.last_us = min(self.first_us, occurred_us), max(self.last_us, occurred_us)
        self.events += 1
        self.root.add(attributes)


class Lesson(NamedTuple):
    versions: list[Learned]
    """The most frequent first."""
    unreadable: int
    """Events with a number that can't be read, or of a version beyond VERSIONS_MAX: not learned from."""
    reached: set[str]
    """Bounds: versions, paths, fields, keyCharacters, levels, elements."""


def learn(samples: Iterable[Sample]) -> Lesson:
    """Versions are kept apart, since each has its own schema. 10 to 30 µs an event of ten attributes."""
    room = Room()
    by_version: dict[str, Learned] = {}
    unreadable = 0
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for sample in samples:
        learned = by_version.get(sample.version)
        if learned is None:
            if len(by_version) == VERSIONS_MAX:
                room.reached.add("versions")
                continue
            learned = by_version[sample.version] = Learned(sample.version, room)
        try:
            attributes = decode(sample.attributes)
        except msgspec.MsgspecError:
            unreadable += 1
            continue
        learned.add(sample.occurred_us, attributes)
    versions = sorted(by_version.values(), key=lambda each: each.events, reverse=True)
    return Lesson(versions, unreadable, room.reached)


@cache
def _formats() -> tuple[Format, ...]:
    looks = {
        "date-time": r"\d{4}-\d\d-\d\d[Tt]",
        "date": r"\d{4}-\d\d-\d\d\Z",
        "uuid": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-",
        "email": r"[^@\s]+@[^@\s]+\Z",
        "uri": r"[A-Za-z][A-Za-z0-9+.-]*://",
        "ipv4": r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\Z",
        "ipv6": r"[0-9a-fA-F]*:[0-9a-fA-F:.]*:",
    }
    return tuple(Format(name, re.compile(pattern), format_test(name)) for name, pattern in looks.items())
