"""Who turns frames into blocks: this thread (`Inline`) or child processes (`workers.Workers`), in the same order."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from headwater.process.pipeline import StepStats, blocks_of
from headwater.storage.log.base import Damage, Frame
from headwater.storage.warehouse.base import Block


class Decoder(Protocol):
    """Used by one thread. What is taken comes in the order it was submitted."""

    capacity: int
    """How many submitted and not taken it works on at once."""

    def submit(self, frames: Sequence[Frame | Damage], after_seq: int, log_id: bytes) -> None: ...

    def pending(self) -> int: ...

    def take(self) -> tuple[Block, StepStats]:
        """The oldest submitted; waits for it."""

    def forget(self) -> None:
        """Drop everything submitted: its thread begins again."""

    def close(self) -> None: ...


class Inline:
    """Decodes when asked to take."""

    capacity = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[Sequence[Frame | Damage], int, bytes]] = deque()

    def submit(self, frames: Sequence[Frame | Damage], after_seq: int, log_id: bytes) -> None:
        self._waiting.append((frames, after_seq, log_id))

    def pending(self) -> int:
        return len(self._waiting)

    def take(self) -> tuple[Block, StepStats]:
        return blocks_of(*self._waiting.popleft())

    def forget(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self.forget()
