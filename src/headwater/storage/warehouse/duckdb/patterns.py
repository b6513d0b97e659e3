"""Is a regular expression one that RE2 can take? Asked of DuckDB itself, before a question runs."""

import threading
from functools import lru_cache
from typing import Any

import duckdb
import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.filters import Compare
from headwater.domain.plans import Plan
from headwater.domain.values import shown

_lock = threading.Lock()


def check_patterns(plan: Plan) -> None:
    """Raises BadInput with code INVALID_PATTERN and the pattern as value."""
    for pattern in _patterns(plan):
        problem = _problem(pattern)
        if problem is not None:
            raise BadInput(
                f"the pattern {shown(pattern)} is no RE2 expression: {problem}; "
                "RE2 has no look-around and no back-references",
                code="INVALID_PATTERN",
                value=pattern,
            )


def _patterns(node: Any) -> list[str]:
    if isinstance(node, Compare):
        return list(node.values) if node.operator == "matches" else []
    if isinstance(node, tuple):
        return [found for each in node for found in _patterns(each)]
    if isinstance(node, msgspec.Struct):
        return [found for name in node.__struct_fields__ for found in _patterns(getattr(node, name))]
    return []


@lru_cache(maxsize=1000)
def _problem(pattern: str) -> str | None:
    with _lock:
        try:
            _judge().execute("SELECT regexp_matches('', $1)", [pattern]).fetchall()
        except duckdb.Error as error:
            return str(error).removeprefix("Invalid Input Error: ").splitlines()[0]
    return None


@lru_cache(maxsize=1)
def _judge() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "64MB"})
