"""What the benches of one run share: how long they may take, and the peer's rates, measured once a shape."""

from contextlib import ExitStack

from bench import wrk
from bench.peer import peer


class Run:
    """`with Run(quick) as run:` N is started when first asked for and ends with the run."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.no_peer: str | None = wrk.missing()
        """Why N can't be measured."""
        self._rates: dict[tuple[int, int], float] = {}
        self._address: str | None = None
        self._closing = ExitStack()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.close()

    def seconds(self, full: float) -> float:
        return full if not self.quick else max(1.0, full / 5)

    def rounds(self, full: int) -> int:
        return full if not self.quick else 1

    def peer_rate(self, batch: int, connections: int, seconds: float) -> float | None:
        """The best rate of N so far in events a second, after one more load; None where it can't run (`no_peer`)."""
        if self.no_peer is None and self._address is None:
            try:
                self._address = self._closing.enter_context(peer())
            except RuntimeError as error:
                self.no_peer = str(error)
        if self._address is None:
            return None
        found = wrk.load(self._address, batch, connections, seconds)
        best = max(self._rates.get((batch, connections), 0.0), found.events_per_second)
        self._rates[batch, connections] = best
        return best

    def peer_best(self, batch: int) -> float | None:
        """Its best rate for that batch over all numbers of connections tried in this run."""
        found = [rate for (size, _), rate in self._rates.items() if size == batch]
        return max(found, default=None)
