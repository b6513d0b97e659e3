"""D: one core decoding the same batch with msgspec into typed structs, attributes raw (`domain.events.Event`).

What counts: the best of several slices of 0.2 s, since whatever disturbs can only slow it down. D is measured right
before and after each load that is compared to it.
"""

import time

import msgspec

from bench import bodies
from bench.report import Row
from bench.run import Run
from headwater.domain.events import Event

SLICE_SECONDS = 0.2
SLICES = 4


class D:
    """Events a second, for one size of batch; the best seen so far."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.best = 0.0
        self._pool = [bodies.body(batch, seed) for seed in range(max(4, 1600 // batch))]
        self._decode = msgspec.json.Decoder(list[Event]).decode

    def measure(self, slices: int = SLICES) -> float:
        for _ in range(slices):
            self.best = max(self.best, self._slice())
        return self.best

    def _slice(self) -> float:
        done, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < SLICE_SECONDS:
            for body in self._pool:
                self._decode(body)
            done += len(self._pool)
        return done * self.batch / elapsed


def rows(run: Run) -> list[Row]:
    return [
        Row("decode", f"D, batches of {batch}", D(batch).measure(), "events/s", absolute={}) for batch in (1, 100, 1000)
    ]
