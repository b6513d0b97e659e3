"""What the collector counts of itself: plain numbers, written by the event loop alone, read by whoever shows them."""

from bisect import bisect_left

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets; one more holds what took longer."""


class Counts:
    """Since the start of the process; all only grow."""

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        """By status of the answer."""
        self.refused: dict[str, int] = {}
        """Requests by problem code."""
        self.accepted = 0
        """Events not quarantined, durable or (202) handed over."""
        self.quarantined: dict[str, int] = {}
        """Events by code, suppressed ones included."""
        self.suppressed = 0
        self.warnings: dict[str, int] = {}
        self.body_bytes = 0
        """As they came, compressed ones before expansion."""
        self.expanded_bytes = 0
        self.disconnected = 0
        """Clients that went away before their body was whole."""
        self.buffered_lost = 0
        """Events answered with 202 that the log then could not take."""
        self.seconds = [0] * (len(SECONDS) + 1)
        """Requests by time from the first header to the answer, in the buckets of SECONDS."""
        self.seconds_sum = 0.0

    def answered(self, status: int, seconds: float) -> None:
        self.requests[status] = self.requests.get(status, 0) + 1
        self.seconds[bisect_left(SECONDS, seconds)] += 1
        self.seconds_sum += seconds

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1
