import contextlib
import random
from typing import Any

import pytest

from headwater.storage.log import received
from headwater.storage.log.base import Entry


@pytest.fixture
def few_frames_per_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "FRAMES_PER_STOP", 4)


@pytest.mark.usefixtures("few_frames_per_stop")
@pytest.mark.parametrize("damaged", [False, True])
def test_counts_after_any_position_are_those_of_the_frames_after_it(
    log: Any, flip: Any, summed: Any, damaged: bool
) -> None:
    """Asked in any order, while the log grows."""
    chance = random.Random(1)
    log.open(segment_bytes=7000)
    with contextlib.closing(log.reader()) as reader:
        for round_number in range(3):
            for frame in range(20):
                n = chance.randint(1, 5)
                token = (round_number, frame)
                log.writer.append(Entry(bytes(range(150)), n, 100 + frame // 4, {f"s{frame % 3}": n}), token)
                log.answer(token)
            if damaged and round_number == 1:
                path = log.segments()[0]
                for header in log.frames_of(path)[2:4]:
                    flip(path, header.offset)
                log.everything()
            items = log.everything()
            positions = [0, *(item.last_seq for item in items)]
            chance.shuffle(positions)
            fresh = log.reader()
            for position in positions:
                expected = summed(item.counts for item in items if item.first_seq > position)
                for asked in (reader, fresh) if not damaged else (fresh,):
                    assert summed(part.counts for part in asked.headers(position)) == expected
            fresh.close()


def test_damage_met_while_reading_corrects_counts_read_before(log: Any, flip: Any, summed: Any) -> None:
    log.open()
    for _ in range(3):
        log.write(2)
    with contextlib.closing(log.reader()) as reader:
        assert summed(part.counts for part in reader.headers()) == {(100, "web"): 6}
        (path,) = log.segments()
        flip(path, log.frames_of(path)[1].offset)
        items = reader.read(0, 100, 0.0)
        assert summed(part.counts for part in reader.headers()) == summed(item.counts for item in items)


def test_counts_of_a_trimmed_segment_are_forgotten(log: Any) -> None:
    log.open(segment_bytes=4500, age_hours_max=-1)
    for _ in range(6):
        log.write(2, bytes(range(200)))
    with contextlib.closing(log.reader()) as reader:
        assert sum(sum(part.counts.values()) for part in reader.headers()) == 12
        for consumer in ("process", "lake"):
            reader.report(consumer, 12)
        dropped: list[Any] = []
        log.writer.trim(dropped.append)
        held = reader.headers()
        assert sum(sum(part.counts.values()) for part in [*held, *dropped]) == 12
        assert set(reader._received._known) == {part.segment for part in held}
