"""The health board: what each part says of itself, and what follows for `/health/live` and `/health/ready`."""

import threading
import time
from typing import Any, Literal

import msgspec

from headwater.observe.gauges import REGISTRY, Registry

State = Literal["ok", "degraded", "down"]
_AS_NUMBER = {"ok": 0, "degraded": 1, "down": 2}


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """`down` and not `needed` counts as degraded for the whole."""

    name: str
    state: State
    code: str
    """Why, in SCREAMING_SNAKE; `OK` when all is well."""
    detail: str
    since_us: int
    """When it came into this state and code."""
    needed: bool
    """Without it no work can be given to this process."""
    vital: bool
    """Without it only a new start of the process helps."""
    restarts: int = 0


class Health:
    """Thread-safe. A part is `down` with code STARTING from `register` until it says otherwise."""

    def __init__(self, registry: Registry = REGISTRY) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        registry.reading(
            "headwater_part_state", "0 ok, 1 degraded, 2 down, by part of the process.", self._states, ("part",)
        )
        registry.reading(
            "headwater_part_restarts_total", "Times the supervisor started a part again.", self._restarts, ("part",)
        )

    def register(self, name: str, *, needed: bool = True, vital: bool = False) -> None:
        """Registering again keeps the count of restarts."""
        with self._lock:
            restarts = self._parts[name].restarts if name in self._parts else 0
            self._parts[name] = Part(
                name, "down", "STARTING", "it has not reported yet", _now_us(), needed, vital, restarts
            )

    def remove(self, name: str) -> None:
        """It is no longer here, as a project that was closed; no error when it was not."""
        with self._lock:
            self._parts.pop(name, None)

    def ok(self, name: str) -> None:
        self._set(name, "ok", "OK", "")

    def degraded(self, name: str, code: str, detail: str) -> None:
        """It works, but somebody should look: `code` in SCREAMING_SNAKE, `detail` with value, limit and cure."""
        self._set(name, "degraded", code, detail)

    def down(self, name: str, code: str, detail: str) -> None:
        self._set(name, "down", code, detail)

    def restarted(self, name: str, detail: str) -> None:
        """The supervisor starts it again after a failure: degraded until it says `ok`."""
        with self._lock:
            part = self._parts[name]
            self._parts[name] = msgspec.structs.replace(part, restarts=part.restarts + 1)
        self._set(name, "degraded", "RESTARTED", detail)

    def parts(self) -> list[Part]:
        """By name."""
        with self._lock:
            return sorted(self._parts.values(), key=lambda part: part.name)

    def live(self) -> dict[str, Any]:
        """`{"status": "ok" | "down", "reasons": [...]}`: down only when a vital part is, so that a restart is right."""
        dead = [part for part in self.parts() if part.vital and part.state == "down" and part.code != "STARTING"]
        return {"status": "down" if dead else "ok", "reasons": [_reason(part) for part in dead]}

    def ready(self) -> dict[str, Any]:
        """`{"status": "ok" | "degraded" | "down", "reasons": [...]}`; only `down` should answer 503."""
        parts = self.parts()
        bad = [part for part in parts if part.state != "ok"]
        down = any(part.needed and part.state == "down" for part in bad) or not parts
        return {"status": "down" if down else "degraded" if bad else "ok", "reasons": [_reason(part) for part in bad]}

    def _set(self, name: str, state: State, code: str, detail: str) -> None:
        with self._lock:
            part = self._parts[name]
            since = part.since_us if (part.state, part.code) == (state, code) else _now_us()
            self._parts[name] = msgspec.structs.replace(part, state=state, code=code, detail=detail, since_us=since)

    def _states(self) -> dict[tuple[str, ...], float]:
        return {(part.name,): _AS_NUMBER[part.state] for part in self.parts()}

    def _restarts(self) -> dict[tuple[str, ...], float]:
        return {(part.name,): part.restarts for part in self.parts()}


def _reason(part: Part) -> dict[str, Any]:
    reason: dict[str, Any] = msgspec.to_builtins(part)
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(part.since_us // 1_000_000))
    reason["since"] = f"{since}.{reason.pop('sinceUs') % 1_000_000:06d}Z"
    return reason


def _now_us() -> int:
    return time.time_ns() // 1000
