"""Decoding in child processes: the same function as `Inline`, its blocks in the same order, whoever of them dies.

Jobs and blocks go through a socket pair; no shared memory, so nothing is left behind. A child that dies is
replaced and its jobs are done again; it ends by itself when this process does, since its socket then does.
"""

import contextlib
import gc
import pickle
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection

import msgspec

from headwater.domain.errors import Unavailable
from headwater.process.arrow import table_of
from headwater.process.buffers import pack, unpack_table
from headwater.process.pipeline import StepStats, blocks_of
from headwater.storage.log.base import Damage, Frame
from headwater.storage.warehouse.base import BATCH_COLUMNS, EVENT_COLUMNS, QUARANTINE_COLUMNS, Block

DEATHS_PER_JOB_MAX = 3
"""A job that outlives this many children is given back as an error: the supervisor then waits before the next try."""
ANSWER_SECONDS_MAX = 120.0
"""A child that takes longer for 20,000 events hangs, and is killed."""
STOP_SECONDS = 2.0
_PARTS = {"events": EVENT_COLUMNS, "quarantine": QUARANTINE_COLUMNS, "batches": BATCH_COLUMNS}
_GONE = (EOFError, OSError)
"""What a pipe raises whose other end has died: ConnectionResetError and BrokenPipeError are OSErrors."""


class _Job(msgspec.Struct, frozen=True):
    frames: list[Frame | Damage]
    after_seq: int
    log_id: bytes


class _Answer(msgspec.Struct, frozen=True):
    """A block with its tables packed, or why there is none."""

    block: Block | None
    stats: StepStats
    error: str = ""


class Workers:
    """A `Decoder` of n children, each with one job at a time."""

    def __init__(self, n: int) -> None:
        self.capacity = n
        self.deaths = 0
        """Children that ended without being asked."""
        self._idle: deque[_Child] = deque(_Child() for _ in range(n))
        self._busy: deque[tuple[_Child, _Job]] = deque()
        """Oldest job first."""
        self._like = {part: table_of({name: [] for name in columns}, columns) for part, columns in _PARTS.items()}

    def pids(self) -> list[int]:
        return [child.process.pid for child in [*(child for child, _ in self._busy), *self._idle]]

    def submit(self, frames: Sequence[Frame | Damage], after_seq: int, log_id: bytes) -> None:
        job = _Job(list(frames), after_seq, log_id)
        child = self._idle.popleft()
        child.send(job)
        self._busy.append((child, job))

    def pending(self) -> int:
        return len(self._busy)

    def take(self) -> tuple[Block, StepStats]:
        """Raises Unavailable when the job's children keep dying, RuntimeError when the pipeline itself broke in one."""
        child, job = self._busy[0]
        deaths = 0
        while (answer := child.answer()) is None:
            deaths += 1
            self.deaths += 1
            child.end()
            if deaths >= DEATHS_PER_JOB_MAX:
                self._busy[0] = (_Child(), job)
                raise Unavailable(f"{deaths} decode workers died one after the other", code="WORKERS_DIE")
            child = _Child()
            self._busy[0] = (child, job)
            child.send(job)
        self._busy.popleft()
        self._idle.append(child)
        if answer.block is None:
            raise RuntimeError(f"in a decode worker: {answer.error}")
        tables = {part: unpack_table(getattr(answer.block, part), self._like[part]) for part in _PARTS}
        return msgspec.structs.replace(answer.block, **tables), answer.stats

    def forget(self) -> None:
        while self._busy:
            child, _ = self._busy.popleft()
            child.end()
            self._idle.append(_Child())

    def close(self) -> None:
        while self._busy:
            self._idle.append(self._busy.popleft()[0])
        while self._idle:
            self._idle.popleft().end()


class _Child:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # Not multiprocessing: its spawn runs the main module again and keeps a tracker process of its own.
        command = f"from headwater.process.workers import serve; serve({theirs.fileno()})"
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  # the interpreter we run in
                [sys.executable, "-P", "-c", command], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self.pipe = Connection(ours.detach())

    def send(self, job: _Job) -> None:
        # That it is dead shows again when the answer is asked for.
        with contextlib.suppress(*_GONE):
            self.pipe.send_bytes(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))

    def answer(self) -> _Answer | None:
        """None when it died or hangs."""
        try:
            if not self.pipe.poll(ANSWER_SECONDS_MAX):
                return None
            answer: _Answer = pickle.loads(self.pipe.recv_bytes())  # noqa: S301  # written by our own child
        except _GONE:
            return None
        return answer

    def end(self) -> None:
        """At once: there is nothing in a child that is not in the log."""
        self.pipe.close()
        self.process.kill()
        self.process.wait()


def serve(fd: int) -> None:
    """The child: jobs in, blocks out, until the other end is closed. Signals to the parent's group are not for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Nothing here makes cycles; a collection every 700 objects would cost a third of the time.
    gc.freeze()
    gc.disable()
    with Connection(fd) as pipe, contextlib.suppress(*_GONE):
        while True:
            job: _Job = pickle.loads(pipe.recv_bytes())  # noqa: S301  # written by our own parent
            pipe.send_bytes(pickle.dumps(_done(job), pickle.HIGHEST_PROTOCOL))


def _done(job: _Job) -> _Answer:
    try:
        block, stats = blocks_of(job.frames, job.after_seq, job.log_id)
    except Exception as error:  # told to the parent, which raises it
        return _Answer(None, StepStats(), f"{type(error).__name__}: {error}")
    packed = {part: pack(getattr(block, part)) for part in _PARTS}
    return _Answer(msgspec.structs.replace(block, **packed), stats)
