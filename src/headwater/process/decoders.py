"""Who turns frames into blocks: this process (`Inline`) or child processes (`workers.Workers`), in the same order."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

from headwater.process.pipeline import StepStats, blocks_of
from headwater.storage.log.base import Damage, Frame
from headwater.storage.warehouse.base import Block


class Decoder(Protocol):
    """Used by one thread. What is taken comes in the order it was submitted."""

    capacity: int
    """How many submitted and not taken it works on at once."""

    def submit(self, frames: Sequence[Frame | Damage], after_seq: int, log_id: bytes) -> None: ...

    def pending(self) -> int: ...

    def begin(self) -> None:
        """The caller does something else now: what is submitted is to be worked on meanwhile."""

    def take(self) -> tuple[Block, StepStats]:
        """The oldest submitted; waits for it."""

    def forget(self) -> None:
        """Drop everything submitted, and wait for what is under way."""

    def close(self) -> None: ...


class Inline:
    """Decodes where it is asked to take, unless that was begun before, in a thread of its own."""

    capacity = 1

    def __init__(self) -> None:
        self._waiting: deque[_Job] = deque()
        self._begun: deque[Future[tuple[Block, StepStats]]] = deque()
        self._beside: ThreadPoolExecutor | None = None

    def submit(self, frames: Sequence[Frame | Damage], after_seq: int, log_id: bytes) -> None:
        self._waiting.append(_Job(frames, after_seq, log_id))

    def pending(self) -> int:
        return len(self._begun) + len(self._waiting)

    def begin(self) -> None:
        if self._waiting and self._beside is None:
            self._beside = ThreadPoolExecutor(1, thread_name_prefix="decode")
        while self._waiting and self._beside is not None:
            self._begun.append(self._beside.submit(blocks_of, *self._waiting.popleft()))

    def take(self) -> tuple[Block, StepStats]:
        return self._begun.popleft().result() if self._begun else blocks_of(*self._waiting.popleft())

    def forget(self) -> None:
        self._waiting.clear()
        self._begun.clear()
        if self._beside is not None:
            self._beside.shutdown(cancel_futures=True)
            self._beside = None

    def close(self) -> None:
        self.forget()


class _Job(NamedTuple):
    frames: Sequence[Frame | Damage]
    after_seq: int
    log_id: bytes
