"""Decoding in child processes: the same function as `Inline`, its blocks in the same order, whoever of them dies.

Jobs and blocks go through a socket pair; no shared memory, so nothing is left behind. A child that dies is
replaced and its jobs are done again; it ends by itself when this process does, since its socket then does.
"""

import contextlib
import gc
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.domain.errors import Unavailable
from headwater.process.arrow import table_of
from headwater.process.buffers import pack, unpack_table
from headwater.process.pipeline import StepStats, blocks_of
from headwater.storage.log.base import Damage, Frame
from headwater.storage.warehouse.base import BATCH_COLUMNS, EVENT_COLUMNS, QUARANTINE_COLUMNS, Block

DEATHS_PER_JOB_MAX = 3
"""A job that outlives this many children is given back as an error: the supervisor then waits before the next try."""
ANSWER_SECONDS_MAX = 120
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

    def begin(self) -> None:
        """They have begun."""

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
        # By the kernel: Python's own timeout makes the socket one that gives what is there, 200 KB at a time.
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, direction, struct.pack("ll", ANSWER_SECONDS_MAX, 0))
        self.pipe = ours

    def send(self, job: _Job) -> None:
        # That it is dead shows again when the answer is asked for.
        with contextlib.suppress(*_GONE):
            _send(self.pipe, job)

    def answer(self) -> _Answer | None:
        """None when it died or hangs."""
        try:
            answer: _Answer = _receive(self.pipe)
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
    with socket.socket(fileno=fd) as pipe, contextlib.suppress(*_GONE):
        while True:
            answer, owners = _done(_receive(pipe))
            _send(pipe, answer)
            del answer, owners


def _done(job: _Job) -> tuple[_Answer, list[object]]:
    """The answer and who owns its memory."""
    try:
        block, stats = blocks_of(job.frames, job.after_seq, job.log_id)
    except Exception as error:  # told to the parent, which raises it
        return _Answer(None, StepStats(), f"{type(error).__name__}: {error}"), []
    parts = {part: pack(getattr(block, part)) for part in _PARTS}
    packed = {part: table for part, (table, _) in parts.items()}
    return _Answer(msgspec.structs.replace(block, **packed), stats), [owner for _, owner in parts.values()]


# A pickle and after it the buffers it leaves out, each from where it lies to where it stays: through one text of bytes
# it took 0.6 µs an event more. Before them how many there are, and how long each is.


def _send(pipe: socket.socket, message: object) -> None:
    buffers: list[pickle.PickleBuffer] = []
    pieces = [memoryview(pickle.dumps(message, pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append))]
    pieces += [buffer.raw() for buffer in buffers]
    pipe.sendall(struct.pack(f"<{len(pieces) + 1}Q", len(pieces), *map(len, pieces)))
    for piece in pieces:
        pipe.sendall(piece)


def _receive(pipe: socket.socket) -> Any:
    (count,) = struct.unpack("<Q", _exactly(pipe, 8))
    sizes = struct.unpack(f"<{count}Q", _exactly(pipe, 8 * count))
    first, *buffers = [_exactly(pipe, size) for size in sizes]
    return pickle.loads(first, buffers=buffers)  # noqa: S301  # written by ourselves at the other end


def _exactly(pipe: socket.socket, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        # All at once but for a signal in between; into fresh memory, which a `bytearray` would write with zeros first.
        piece = pipe.recv(size, socket.MSG_WAITALL)
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
