"""From a judged body to the log: acknowledged when durable, back-pressure, and a clock that was set back."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from headwater.collect.bounds import Bounds
from headwater.collect.intake import Acks, Connection, Intake, Receipt
from headwater.collect.judge import judge
from headwater.collect.limit import Quota
from headwater.collect.sources import Labels
from headwater.collect.validate import Sender
from headwater.domain.batches import Batch, decode_batch
from headwater.domain.errors import Overloaded, Unavailable
from headwater.domain.events import derived_id
from headwater.domain.schemas import rules_from
from headwater.storage.log import open_log_reader, open_log_writer
from headwater.storage.log.base import Frame

SENDER = Sender("k", "server", frozenset(), False)


def run(folder: Path, use: Callable[[Intake, Any], Coroutine[Any, Any, None]], **given: Any) -> list[Frame]:
    """Use an intake over a real log; returns what the log holds after."""
    url = f"file://{folder}/log"

    async def inside() -> None:
        log = open_log_writer(url, Acks(asyncio.get_running_loop()).on_durable)
        intake = Intake(
            log,
            **{"rules": rules_from([]), "labels": Labels([], 3), "quota": Quota(2), "lag": lambda: 0, **given},
        )
        try:
            await asyncio.wait_for(use(intake, log), 20)
        finally:
            await asyncio.to_thread(log.close)

    asyncio.run(inside())
    reader = open_log_reader(url)
    frames = [*reader.read(0, 20_000, 0.1)] if reader.durable_seq() else []
    reader.close()
    assert all(isinstance(frame, Frame) for frame in frames)
    return frames  # type: ignore[return-value]


def batches(frames: list[Frame]) -> list[Batch]:
    return [decode_batch(payload) for frame in frames for payload in frame.payloads]


async def send(intake: Intake, body: bytes, durable: bool = True, key: str | None = None) -> Receipt:
    judged = judge(body, intake.case(SENDER, None, Bounds()))
    return await intake.append(body, judged, SENDER, Connection("192.0.2.1", "curl", key), durable)


def test_a_durable_receipt_means_that_the_log_has_it(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        receipt = await send(intake, b'[{"name":"a"},{"name":"b","source":"s"}]')
        assert (receipt.n, receipt.verdicts, receipt.durable) == (2, 0, True)
        assert log.durable_seq() == 2

    (frame,) = run(tmp_path, use)
    (batch,) = batches([frame])
    assert {source: n for (_, source), n in frame.counts.items()} == {"server": 1, "s": 1}
    assert (batch.source_ip, batch.user_agent, batch.key_id, batch.public) == ("192.0.2.1", "curl", "k", False)
    assert batch.body == b'[{"name":"a"},{"name":"b","source":"s"}]'


def test_many_at_once_are_all_answered(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        receipts = await asyncio.gather(*(send(intake, b'{"name":"a"}', durable=n % 5 > 0) for n in range(300)))
        assert len({receipt.batch_id_text for receipt in receipts}) == 300

    frames = run(tmp_path, use)
    assert sum(frame.n for frame in frames) == 300
    assert len(frames) < 300


def test_requests_of_one_turn_of_the_loop_share_their_groups_and_keep_their_order(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        sends = (send(intake, b'{"name":"%d"}' % n, durable=n % 7 != 3) for n in range(64))
        assert len(await asyncio.gather(*sends)) == 64

    frames = run(tmp_path, use)
    assert [batch.body for batch in batches(frames)] == [b'{"name":"%d"}' % n for n in range(64)]
    assert len(frames) < 32  # each for itself made 64


def test_one_answer_that_fails_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    heard: list[object] = []

    async def use(intake: Intake, log: Any) -> None:
        def broken(outcome: object) -> None:
            raise RuntimeError("defect")

        judged = judge(b'{"name":"a"}', intake.case(SENDER, None, Bounds()))
        for told in (broken, heard.append):
            received_us = intake.moment().received_us
            intake.submit(b'{"name":"a"}', judged, SENDER, Connection(), told, received_us)
        await send(intake, b'{"name":"b"}')

    run(tmp_path, use)
    assert heard == [2]


def test_no_events_write_nothing(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        assert (await send(intake, b"[]")).n == 0

    assert run(tmp_path, use) == []


def test_verdicts_beyond_the_quota_are_suppressed(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        receipt = await send(intake, b'[{"name":5},{"name":"a"},{"name":6},{"name":7}]')
        assert (receipt.verdicts, receipt.suppressed) == (3, {3})

    (batch,) = batches(run(tmp_path, use))
    assert ([verdict.index for verdict in batch.verdicts], batch.suppressed) == ([0, 2, 3], (3,))


def test_sources_beyond_the_limit_are_labelled_other_in_the_frame(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        await send(intake, b'[{"name":"a","source":"1"},{"name":"a","source":"2"},{"name":"a","source":"3"}]')
        await send(intake, b'[{"name":"a","source":"1"},{"name":"a","source":"4"},{"name":"a","source":"5"}]')

    counts = [{source: n for (_, source), n in frame.counts.items()} for frame in run(tmp_path, use)]
    assert counts[-1] == {"1": 1, "(other)": 2}


def test_an_idempotency_key_fixes_the_ids_of_a_body(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        for key in ("x", "x", "y", None):
            await send(intake, b'{"name":"a"}', key=key)

    found = batches(run(tmp_path, use))
    ids = [derived_id(batch.id_base, 0) for batch in found]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert [batch.recognisable for batch in found] == [True, True, True, False]


def test_a_closed_log_is_said_and_stores_nothing(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        log.close()
        with pytest.raises(Unavailable):
            await send(intake, b'{"name":"a"}')

    assert run(tmp_path, use) == []


def test_beyond_the_soft_bound_senders_wait_until_there_is_room(tmp_path: Path) -> None:
    lag = [500]

    async def use(intake: Intake, log: Any) -> None:
        waiting = [asyncio.create_task(intake.room()) for _ in range(50)]
        done, _ = await asyncio.wait(waiting, timeout=0.1)
        assert intake.is_crowded()
        assert not done
        lag[0] = 100
        await asyncio.wait_for(asyncio.gather(*waiting), 2)

    run(tmp_path, use, lag=lambda: lag[0], lag_events_soft=100, lag_events_hard=1000, ack_wait_seconds=30)


def test_the_wait_has_an_end_and_then_they_are_let_in(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        await intake.room()
        await intake.room()

    run(tmp_path, use, lag=lambda: 500, lag_events_soft=100, lag_events_hard=1000, ack_wait_seconds=0.05)


def test_beyond_the_hard_bound_they_are_refused_at_once(tmp_path: Path) -> None:
    async def use(intake: Intake, log: Any) -> None:
        with pytest.raises(Overloaded) as raised:
            await intake.room()
        assert (raised.value.code, raised.value.limit, raised.value.retry_after_seconds) == ("BACKLOG", 1000, 5)

    run(tmp_path, use, lag=lambda: 1000, lag_events_soft=100, lag_events_hard=1000, ack_wait_seconds=30)


def test_received_times_never_go_back_and_nothing_is_future_meanwhile(tmp_path: Path) -> None:
    hour_us = 3_600_000_000
    clock = [1_800_000_000_000_000]

    async def use(intake: Intake, log: Any) -> None:
        body = b'{"name":"a","timestamp":"2027-01-17T00:00:00Z"}'
        await send(intake, body)
        clock[0] -= 48 * hour_us
        assert intake.clock_behind_us() == 48 * hour_us
        assert intake.moment().behind
        assert (await send(intake, body)).verdicts == 0
        clock[0] += 49 * hour_us
        assert intake.clock_behind_us() == 0
        await send(intake, body)

    times = [batch.received_us for batch in batches(run(tmp_path, use, clock_ns=lambda: clock[0] * 1000))]
    assert times == [1_800_000_000_000_000, 1_800_000_000_000_000, 1_800_000_000_000_000 + hour_us]
