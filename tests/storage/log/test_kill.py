"""kill -9 of a writing process: what it has acknowledged is there, once, in order."""

import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import Unavailable
from headwater.storage.log.base import Frame

CHILD = """
import os, sys, threading
from headwater.storage.log import open_log_writer
from headwater.storage.log.base import Entry
url, start = sys.argv[1], int(sys.argv[2])
room = threading.Semaphore(64)
def durable(outcomes):
    os.write(1, b"".join(b"%d %d\\n" % (token, outcome) for token, outcome in outcomes))
    for _ in outcomes:
        room.release()
writer = open_log_writer(url, durable, segment_bytes=200_000)
os.write(1, b"open\\n")
for token in range(start, start + 10_000_000):
    room.acquire()
    writer.append(Entry(b"%d " % token + os.urandom(300), 1 + token % 3, 100, {"s": 1 + token % 3}), token)
"""


def start_writer(url: str, first_token: int) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", CHILD, url, str(first_token)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    return child


def kills(log: Any, times: int, seed: int, record_property: Any) -> None:
    chance = random.Random(seed)
    acked: dict[int, int] = {}
    for round_number in range(times):
        child = start_writer(log.url, round_number * 10_000_000)
        assert child.stdout is not None
        until = time.monotonic() + chance.uniform(0.02, 0.3)
        lines = []
        while time.monotonic() < until:
            lines.append(child.stdout.readline())
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)
        child.wait()
        child.stdout.close()
        for line in lines:
            if line.endswith(b"\n"):
                token, seq = line.split()
                acked[int(token)] = int(seq)
    assert len(acked) > 100 * times
    log.open(segment_bytes=200_000)
    log.close()
    found: dict[int, int] = {}
    seq = 1
    for frame in log.everything():
        assert isinstance(frame, Frame)
        assert frame.first_seq == seq
        for n, payload in zip(frame.entry_sizes, frame.payloads, strict=True):
            token = int(payload.split(b" ", 1)[0])
            assert token not in found
            assert n == 1 + token % 3
            found[token] = seq
            seq += n
    assert acked.items() <= found.items()
    assert sum(log.received().values()) == seq - 1
    record_property("kills", times)
    record_property("events", sum(1 + token % 3 for token in acked))


def test_five_kills_lose_nothing_acknowledged_and_double_nothing(log: Any, record_property: Any) -> None:
    kills(log, 5, 5, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_kills_lose_nothing_acknowledged_and_double_nothing(
    log: Any, seed: int, record_property: Any
) -> None:
    kills(log, 20, seed, record_property)


def test_a_reader_in_another_process_follows_through_a_kill(log: Any) -> None:
    child = start_writer(log.url, 0)
    with contextlib.closing(log.reader()) as reader:
        position = reader.read(0, 100, 10.0)[-1].last_seq
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
        child = start_writer(log.url, 10_000_000)
        tokens: list[int] = []
        while not tokens or tokens[-1] < 10_000_000:
            for frame in reader.read(position, 1000, 10.0):
                assert isinstance(frame, Frame)
                assert frame.first_seq == position + 1
                position = frame.last_seq
                tokens += [int(payload.split(b" ", 1)[0]) for payload in frame.payloads]
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_a_second_writer_is_refused_and_told_the_first_ones_pid(log: Any) -> None:
    child = start_writer(log.url, 0)
    try:
        with pytest.raises(Unavailable) as caught:
            log.open()
        assert caught.value.code == "LOG_HELD"
        assert f"process {child.pid} " in str(caught.value)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert isinstance(log.open().durable_seq(), int)
    with pytest.raises(Unavailable, match=f"process {os.getpid()} "):
        type(log)(Path(log.folder)).open()
