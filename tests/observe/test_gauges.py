import sys
import threading
import timeit
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.observe.gauges import LABEL_SETS_MAX, Counter, Histogram, Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


def samples(registry: Registry) -> dict[tuple[str, tuple[str, ...]], float]:
    """What a Prometheus server reads: (name, label values by label name) → value."""
    text = registry.exposition().decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_counter_is_shown_with_its_sum_from_the_start(registry: Registry) -> None:
    accepted = registry.counter("headwater_accepted_events_total", "Events made durable.").of()
    assert samples(registry)["headwater_accepted_events_total", ()] == 0
    accepted.add()
    accepted.add(41)
    assert samples(registry)["headwater_accepted_events_total", ()] == 42


def test_help_and_type_are_shown(registry: Registry) -> None:
    registry.counter("headwater_accepted_events_total", "Events made durable.")
    text = registry.exposition().decode()
    assert "# HELP headwater_accepted_events_total Events made durable.\n" in text
    assert "# TYPE headwater_accepted_events_total counter\n" in text


def test_labels_part_a_family(registry: Registry) -> None:
    refused = registry.counter("headwater_refused_requests_total", "Requests refused.", ("project", "reason"))
    refused.of("shop", 'a"b\\c\nd').add(2)
    refused.of("shop", "RATE").add()
    found = samples(registry)
    assert found["headwater_refused_requests_total", ("shop", 'a"b\\c\nd')] == 2
    assert found["headwater_refused_requests_total", ("shop", "RATE")] == 1


def test_label_sets_are_bounded_and_the_rest_is_other(registry: Registry) -> None:
    refused = registry.counter("headwater_refused_requests_total", "Requests refused.", ("reason",))
    for n in range(LABEL_SETS_MAX + 50):
        refused.of(f"r{n}").add()
    assert len(refused.children) == LABEL_SETS_MAX + 1
    assert refused.of("(other)").value == 50
    refused.of("r0").add()
    assert refused.of("r0").value == 2


def test_a_gauge_goes_up_and_down(registry: Registry) -> None:
    depth = registry.gauge("headwater_log_queue_bytes", "Bytes waiting.").of()
    depth.set(10)
    depth.add(-3)
    assert samples(registry)["headwater_log_queue_bytes", ()] == 7


def test_a_histogram_counts_up_to_each_bound_and_beyond(registry: Registry) -> None:
    seconds = registry.histogram("headwater_load_seconds", "Time of a load.", ("phase",), bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        seconds.of("insert").observe(value)
    found = samples(registry)
    assert found["headwater_load_seconds_bucket", ("0.1", "insert")] == 2
    assert found["headwater_load_seconds_bucket", ("1.0", "insert")] == 3
    assert found["headwater_load_seconds_bucket", ("+Inf", "insert")] == 4
    assert found["headwater_load_seconds_count", ("insert",)] == 4
    assert found["headwater_load_seconds_sum", ("insert",)] == pytest.approx(7.65)


def test_readers_are_asked_at_each_look_and_the_last_one_counts(registry: Registry) -> None:
    numbers = iter([1.0, 2.0])
    registry.reading("headwater_log_lag_events", "Behind.", lambda: next(numbers))
    assert samples(registry)["headwater_log_lag_events", ()] == 1
    assert samples(registry)["headwater_log_lag_events", ()] == 2
    registry.reading("headwater_log_lag_events", "Behind.", lambda: {("shop",): 3.0}, ("project",))
    assert samples(registry)["headwater_log_lag_events", ("shop",)] == 3


def test_a_reader_with_too_many_labels_is_bounded(registry: Registry) -> None:
    many = {(f"p{n}",): 1.0 for n in range(LABEL_SETS_MAX + 5)}
    registry.reading("headwater_log_lag_events", "Behind.", lambda: many, ("project",))
    assert samples(registry)["headwater_log_lag_events", ("(other)",)] == 5


def test_a_broken_reader_is_left_out_and_counted(registry: Registry) -> None:
    registry.counter("headwater_accepted_events_total", "Events made durable.").of().add()
    registry.reading("headwater_disk_free_bytes", "Space.", lambda: 1 / 0)
    samples(registry)
    found = samples(registry)
    assert ("headwater_disk_free_bytes", ()) not in found
    assert found["headwater_gauges_unread_errors_total", ("headwater_disk_free_bytes",)] >= 1
    assert found["headwater_accepted_events_total", ()] == 1


def test_asking_again_gives_the_same_family(registry: Registry) -> None:
    first = registry.counter("headwater_accepted_events_total", "Events made durable.")
    assert registry.counter("headwater_accepted_events_total", "Events made durable.") is first
    with pytest.raises(AssertionError, match="registered differently"):
        registry.counter("headwater_accepted_events_total", "Events made durable.", ("project",))


@pytest.mark.parametrize(
    "register",
    [
        lambda r: r.counter("headwater_accepted_events", "Events."),
        lambda r: r.counter("accepted_events_total", "Events."),
        lambda r: r.gauge("headwater_queue", "Things waiting."),
        lambda r: r.gauge("headwater_queue_total", "Things waiting."),
        lambda r: r.gauge("headwater_Queue_bytes", "Things waiting."),
        lambda r: r.gauge("headwater_queue_bytes", "no sentence"),
        lambda r: r.histogram("headwater_load_seconds", "Time.", bounds=(1.0, 0.1)),
    ],
)
def test_names_without_unit_and_help_without_sentence_are_refused(
    registry: Registry, register: Callable[[Registry], object]
) -> None:
    with pytest.raises(AssertionError):
        register(registry)


def test_a_wrong_number_of_label_values_is_refused(registry: Registry) -> None:
    refused = registry.counter("headwater_refused_requests_total", "Requests refused.", ("reason",))
    with pytest.raises(AssertionError):
        refused.of("a", "b")


@pytest.fixture
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
def test_additions_of_several_threads_are_all_counted() -> None:
    counter, histogram = Counter(), Histogram((0.5,))

    def work() -> None:
        for _ in range(20_000):
            counter.add()
            histogram.observe(0.1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 80_000
    assert histogram.counts == [80_000, 0]


def test_an_addition_costs_less_than_300_ns_and_an_observation_less_than_500() -> None:
    """The best of many: other work on the machine can only slow it down."""
    counter, histogram = Counter(), Histogram()
    assert min(timeit.repeat(lambda: counter.add(100), number=1000, repeat=30)) / 1000 < 300e-9
    assert min(timeit.repeat(lambda: histogram.observe(0.02), number=1000, repeat=30)) / 1000 < 500e-9
