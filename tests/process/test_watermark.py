"""The watermark is a time up to which all that was logged is stored, and it never goes back."""

from headwater.process.watermark import SAMPLES_MAX, Watermark


class Clock:
    now = 1000

    def __call__(self) -> int:
        return self.now


def test_with_nothing_in_flight_it_is_the_clock():
    clock = Clock()
    mark = Watermark(clock)
    mark.loaded(5)
    mark.sample(lambda: 5)
    assert mark.us == 1000
    clock.now = 2000
    mark.sample(lambda: 5)
    assert mark.us == 2000


def test_it_stands_at_the_last_moment_whose_events_are_all_loaded():
    clock = Clock()
    mark = Watermark(clock)
    assert mark.us == 0
    for clock.now, seq in ((1000, 5), (2000, 9), (3000, 12)):
        mark.sample(lambda seq=seq: seq)
    mark.loaded(4)
    assert mark.us == 0
    mark.loaded(9)
    assert mark.us == 2000
    mark.loaded(12)
    assert mark.us == 3000


def test_a_clock_that_is_set_back_does_not_move_it_back():
    clock = Clock()
    mark = Watermark(clock)
    mark.sample(lambda: 0)
    clock.now = 10
    mark.sample(lambda: 0)
    assert mark.us == 1000


def test_the_time_is_taken_before_the_seq():
    clock = Clock()
    mark = Watermark(clock)
    mark.loaded(7)

    def durable_seq() -> int:
        clock.now = 5000
        return 7

    mark.sample(durable_seq)
    assert mark.us == 1000


def test_samples_are_bounded_however_long_nothing_is_loaded():
    mark = Watermark(Clock())
    for seq in range(1, SAMPLES_MAX * 2):
        mark.sample(lambda seq=seq: seq)
    assert len(mark._samples) == SAMPLES_MAX
    mark.loaded(SAMPLES_MAX * 2)
    assert mark.us == 1000
