"""The parts of the soak that need no server."""

import csv
import json
import random
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from bench.curve import Panel, svg, ticks
from bench.mixed import Mixed
from bench.samples import CSV_ROWS_MAX, Sample, write_csv
from bench.steady import steady, theil_sen

from bench import soak

SAMPLE = Sample(0.0, 300, 120, 30, 60, 20_000, 0, 20, 80.0, None, 64, 500, 900, 3, 100, 90, 4, 100_000)


def samples(minutes, memory):
    return [replace(SAMPLE, seconds=5.0 * n, memory_mb=memory(n)) for n in range(minutes * 12 + 1)]


def account(exact=True):
    sent = {"events/s": 20_000, "refused": 0, "ack p99 ms": 20, "events": 1000, "repeats": 10, "broken": 5}
    return {"sent": sent, "expected": {"received": 1000}, "found": {}, "balanced": True, "exact": exact} | {
        "visible": [80.0] * 100,
        "answers": [5.0] * 100,
    }


def test_a_slope_is_found_under_outliers():
    rng = random.Random(1)
    xs = [5.0 * n for n in range(240)]
    ys = [300 + 0.01 * x + rng.uniform(-20, 20) + (200 if n % 5 == 0 else 0) for n, x in enumerate(xs)]
    assert theil_sen(xs, ys) == pytest.approx(0.01, abs=0.005)


def test_what_fills_up_in_the_first_third_and_then_saws_is_flat():
    rows = samples(30, lambda n: min(400, 100 + 4 * n) + 30 * (n % 4))
    told = soak.verdict(rows, account(), 20_000)
    assert told["holds"], told["says"]


def test_memory_that_grows_by_100_mb_an_hour_is_not_flat():
    rng = random.Random(2)
    rows = samples(30, lambda n: 300 + 100 * n / 720 + rng.uniform(-20, 20))
    told = soak.verdict(rows, account(), 20_000)
    assert not told["holds"] and told["says"][0].startswith("memory: NOT FLAT")


def test_a_handle_that_leaks_every_five_minutes_is_not_flat():
    xs = [5.0 * n for n in range(361)]
    assert not steady("handles", "handles", xs, [60 + x // 300 for x in xs], soak.HANDLES_PER_HOUR_MAX).holds


def test_an_event_that_is_missing_and_a_rate_that_was_not_kept_fail_the_run():
    rows = samples(30, lambda n: 300)
    assert soak.verdict(rows, account(), 20_000)["holds"]
    missing = soak.verdict(rows, account(exact=False), 20_000)
    slow = soak.verdict(rows, account(), 30_000)
    assert not missing["holds"] and any("NOT ACCOUNTED FOR" in line for line in missing["says"])
    assert not slow["holds"] and any("NOT KEPT" in line for line in slow["says"])


def test_mixed_traffic_repeats_only_what_came_and_counts_what_is_broken():
    traffic, seen, repeats, broken, events = Mixed(100, 1), set(), 0, 0, 0
    for _ in range(200):
        sending = traffic.next()
        found = json.loads(sending.body)
        assert len(found) == 100
        keys = [(event["source"], event["id"], event["timestamp"]) for event in found]
        assert sum(key in seen for key in keys) == sending.repeats
        wrong = sum(event["type"] == "CLICK" or event["data"]["attributes"].get("amount") == "a lot" for event in found)
        assert wrong == sending.broken
        seen.update(keys)
        traffic.acknowledged(sending)
        repeats, broken, events = repeats + sending.repeats, broken + sending.broken, events + 100
    assert repeats == pytest.approx(0.01 * events, abs=2) and broken == pytest.approx(0.005 * events, abs=2)


def test_the_curve_is_svg_and_leaves_gaps_where_nothing_was_seen():
    root = ET.fromstring(svg("a < b", [0, 1, 2, 3], [Panel("x", [("a", [1, None, 3, 4])], bound=5)]))
    paths = [each.get("d") for each in root.iter("{http://www.w3.org/2000/svg}path")]
    assert any(path.count("M") == 2 for path in paths)
    assert soak.drawn(samples(1, lambda n: 300), 20_000).startswith("<svg")


@pytest.mark.parametrize(("most", "last"), [(1, 1), (30, 30), (31.5, 30), (20_000, 20_000), (0.07, 0.06)])
def test_ticks_are_round(most, last):
    assert ticks(most)[-1] == pytest.approx(last)


def test_the_samples_are_thinned(tmp_path):
    write_csv(tmp_path / "soak.csv", samples(30, lambda n: 300))
    with (tmp_path / "soak.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 100 < len(rows) <= CSV_ROWS_MAX
    assert rows[1]["memory_mb"] == "300" and rows[1]["answer_ms"] == ""
