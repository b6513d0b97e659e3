"""One connection to a running collector: posts bodies, waits where it says so, sends again what may be lost."""

import http.client
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headwater.collect.importing.answers import RETRY_SECONDS, answer_of
from headwater.domain.errors import BadInput, Overloaded, Unavailable

PATIENCE_SECONDS = 60.0
"""How long one body is tried before the sender gives up."""
ANSWER_SECONDS_MAX = 60.0


class Totals(msgspec.Struct):
    """What a collector answered to all that was sent. `duplicate`: those known at once; the ledger has them all."""

    sent: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def add(self, n: int, answer: Mapping[str, Any]) -> None:
        self.sent += n
        self.accepted += answer["accepted"]
        self.duplicate += answer["duplicate"]
        self.quarantined += answer["quarantined"]


class Sender:
    """Keeps one HTTP connection alive. Sending a body twice is harmless: every event in it has its own id.

    `pause` waits some seconds and tells whether to give up (a `threading.Event.wait` does).
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], pause: Callable[[float], bool | None] = time.sleep
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise BadInput(f"not an http address: {base_url!r}", value=base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=ANSWER_SECONDS_MAX)
        self._path = parts.path.rstrip("/") + "/api/v1/events"
        self._headers = {"Content-Type": "application/json", **headers}
        self._pause = pause

    def post(self, body: bytes) -> Mapping[str, Any]:
        """The collector's answer. Raises BadInput, Refused, or Unavailable after PATIENCE_SECONDS."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._exchange(body)
            except (Overloaded, Unavailable) as error:
                wait_seconds = error.retry_after_seconds or RETRY_SECONDS
                if time.monotonic() + wait_seconds > deadline:
                    detail = f"the collector took nothing for {PATIENCE_SECONDS:.0f} s; its last word: {error.detail}"
                    raise Unavailable(detail, limit=PATIENCE_SECONDS) from error
                if self._pause(wait_seconds):
                    raise

    def close(self) -> None:
        self._connection.close()

    def _exchange(self, body: bytes) -> Mapping[str, Any]:
        try:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"no answer from the collector: {error!r}") from error
        return answer_of(response.status, content, response.headers.get("Retry-After"))
