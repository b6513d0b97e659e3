"""Decoding in children gives what decoding here gives, whoever is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from arro3.core import Array, DataType, Table
from frames import LOG_ID, batch_of, event, frame_of
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.batches import Verdict
from headwater.domain.errors import Unavailable
from headwater.process import workers as worker_rules
from headwater.process.arrow import rows_of
from headwater.process.buffers import pack, unpack_table
from headwater.process.pipeline import blocks_of
from headwater.process.workers import DEATHS_PER_JOB_MAX, Workers
from headwater.storage.log.base import Damage, Frame
from headwater.storage.warehouse.base import Block


def rows(block: Block) -> list[object]:
    tables = [rows_of(table) for table in (block.events, block.quarantine, block.batches)]
    return [block.position, block.after_seq, block.lost, *tables]


def jobs(n: int, events: int = 20) -> list[list[Frame | Damage]]:
    verdict = Verdict(1, "TYPE_MISMATCH", "no", "web")
    return [
        [
            frame_of(
                batch_of([event(k * events + i, actor=f"ü{k}") for i in range(events)], verdicts=[verdict]),
                first_seq=1 + k * (events + 2),
            ),
            Damage((k + 1) * (events + 2) - 1, 2, {(1, "web"): 2}, "torn"),
        ]
        for k in range(n)
    ]


@pytest.fixture(scope="module")
def workers():
    workers = Workers(2)
    yield workers
    workers.close()


def run(workers: Workers, todo: list[list[Frame | Damage]], kill_before: tuple[int, ...] = ()) -> list[Block]:
    """As the stream does it: as many at once as there are children."""
    done: list[Block] = []
    for k, frames in enumerate(todo):
        if k in kill_before:
            for pid in workers.pids():
                os.kill(pid, signal.SIGKILL)
        workers.submit(frames, frames[0].first_seq - 1, LOG_ID)
        while workers.pending() >= workers.capacity:
            done.append(workers.take()[0])
    while workers.pending():
        done.append(workers.take()[0])
    return done


def test_blocks_come_in_order_and_are_those_of_this_process(workers):
    todo = jobs(7)
    here = [blocks_of(frames, frames[0].first_seq - 1, LOG_ID)[0] for frames in todo]
    assert [rows(block) for block in run(workers, todo)] == [rows(block) for block in here]


def test_killed_workers_are_replaced_and_their_work_is_done_again(workers):
    todo = jobs(9)
    before = workers.deaths
    blocks = run(workers, todo, kill_before=(2, 5, 6))
    assert [block.position.seq for block in blocks] == [frames[-1].last_seq for frames in todo]
    assert workers.deaths >= before + 4


def test_a_worker_killed_at_work_loses_nothing(workers):
    big = jobs(2, events=4000)
    for frames in big:
        workers.submit(frames, frames[0].first_seq - 1, LOG_ID)
    for pid in workers.pids():
        os.kill(pid, signal.SIGKILL)
    assert [workers.take()[0].position.seq for _ in big] == [frames[-1].last_seq for frames in big]


def test_stats_come_with_the_block(workers):
    (frames,) = jobs(1)
    workers.submit(frames, 0, LOG_ID)
    _, stats = workers.take()
    assert stats.events == 22 and stats.rejects == {("collect", "TYPE_MISMATCH"): 1} and stats.seconds["decode"] > 0


def test_a_job_whose_children_keep_dying_is_given_back_as_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    workers = Workers(1)
    try:
        workers.submit(jobs(1)[0], 0, LOG_ID)
        with pytest.raises(Unavailable, match="workers died"):
            workers.take()
        assert workers.deaths == DEATHS_PER_JOB_MAX
    finally:
        workers.close()


def test_what_was_forgotten_does_not_come_back(workers):
    first, second = jobs(2)
    workers.submit(first, 0, LOG_ID)
    workers.forget()
    assert workers.pending() == 0
    workers.submit(second, second[0].first_seq - 1, LOG_ID)
    assert workers.take()[0].position.seq == second[-1].last_seq


def test_children_end_when_their_parent_is_killed():
    script = "from headwater.process.workers import Workers; w = Workers(2); print(*w.pids(), flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
        parent.wait()
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        os.sched_yield()
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), texts, st.none() | st.booleans()), max_size=40))
def test_a_table_survives_packing(values):
    table = Table.from_pydict(
        {
            "n": Array([n for n, _, _ in values], DataType.int64()),
            "t": Array([t for _, t, _ in values], DataType.string()),
            "b": Array([b for _, _, b in values], DataType.bool()),
        }
    )
    packed, _owner = pack(table)
    assert rows_of(unpack_table(packed, table.slice(0, 0))) == rows_of(table)


@pytest.mark.parametrize("events", [20, 9000], ids=["hangs before it answers", "hangs before it has the job"])
def test_a_worker_that_hangs_is_replaced(monkeypatch, events):
    monkeypatch.setattr(worker_rules, "ANSWER_SECONDS_MAX", 1)
    workers = Workers(1)
    try:
        os.kill(workers.pids()[0], signal.SIGSTOP)
        (frames,) = jobs(1, events=events)
        monkeypatch.setattr(worker_rules, "ANSWER_SECONDS_MAX", 60)
        workers.submit(frames, 0, LOG_ID)
        assert workers.take()[1].events == events + 2 and workers.deaths == 1
    finally:
        workers.close()
