"""What must never be printed: keys, credentials, bodies. Everything in a journal line goes through `clean`."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

HIDDEN = "***"
TEXT_CHARACTERS_MAX = 4_000
ITEMS_MAX = 50
DEPTH_MAX = 4

_NAMES = re.compile(r"authorization|password|passwd|secret|cookie|credential|api_?key|token$|^body$", re.IGNORECASE)
_HINTS = ("hw_", "whsec_", "bearer", "basic", "key", "passw", "secret", "token", "authoriz", "cookie", "@")
"""Text with none of these in it needs no pattern: 5 us a line instead of 30."""
_WORDS = r"api_?key|password|passwd|secret|token|authorization|cookie"
_IN_TEXT = (
    (re.compile(r"(hw_[a-z]{2}_|whsec_)[A-Za-z0-9+/=_-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]+"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)\bkey=[^\s&#\"']+"), f"key={HIDDEN}"),
    # Whatever is set to a word that names a secret: `password: x`, `"token":"x"`.
    (
        re.compile(rf"(?i)((?:{_WORDS})[\"']?\s*[=:]\s*[\"']?)(?!(?:bearer|basic)\s)[^\s&\"',;#)}}\]]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{HIDDEN}@"),
)


def clean(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a line without secrets: hidden by name, and inside any text by shape. Bytes become their length."""
    return {_text(name): HIDDEN if _NAMES.search(name) else clean_value(value) for name, value in facts.items()}


def clean_value(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        shown = list(value.items())[:ITEMS_MAX]
        return {
            _text(str(name)): HIDDEN if _NAMES.search(str(name)) else clean_value(item, depth + 1)
            for name, item in shown
        }
    if isinstance(value, Sequence | Set):
        return [clean_value(item, depth + 1) for item in list(value)[:ITEMS_MAX]]
    return _text(str(value))


def _text(text: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX:
        text = f"{text[:TEXT_CHARACTERS_MAX]}… ({len(text)} characters)"
    low = text.lower()
    if any(hint in low for hint in _HINTS):
        for pattern, replacement in _IN_TEXT:
            text = pattern.sub(replacement, text)
    return text
