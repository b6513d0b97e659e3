"""What a look at a project found: one finding for each check."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Result = Literal["ok", "warn", "broken", "skipped"]
RANK: dict[str, int] = {"ok": 0, "skipped": 0, "warn": 1, "broken": 2}


class Finding(msgspec.Struct, frozen=True):
    name: str
    result: Result
    """`warn`: nothing is lost or wrong, but somebody should know. `skipped`: what it needs could not be opened."""
    found: str
    cure: str | None = None
    """The command that mends it, or what a person has to do; null where there is nothing to do."""


def worst(findings: Sequence[Finding]) -> Result:
    return max((finding.result for finding in findings), key=RANK.__getitem__, default="ok")


def facts_of(findings: Sequence[Finding], *, deep: bool) -> dict[str, Any]:
    """As JSON. `healthy` is false when something is broken; warnings alone leave it true."""
    result = worst(findings)
    return {
        "healthy": result != "broken",
        "result": "ok" if result == "skipped" else result,
        "deep": deep,
        "checks": [msgspec.to_builtins(finding) for finding in findings],
    }
