"""Each bench file imports, and the parts that need no server do what they say."""

import importlib
import json
import random
import uuid
from pathlib import Path

import pytest
from bench.report import Row, not_measured

from bench import __main__, bodies

FILES = sorted(path.stem for path in Path(bodies.__file__).parent.glob("[!_]*.py"))
NEED_EXTRA = {"naive": "asyncpg"}


@pytest.mark.parametrize("name", FILES)
def test_each_bench_file_imports(name):
    if name in NEED_EXTRA:
        pytest.importorskip(NEED_EXTRA[name])
    importlib.import_module(f"bench.{name}")


@pytest.mark.parametrize("name", __main__.NAMES)
def test_each_named_bench_has_rows(name):
    assert callable(importlib.import_module(f"bench.{name}").rows)


def test_a_template_gives_other_ids_each_time_and_tells_them():
    template, rng = bodies.Template(5, seed=3), random.Random(1)
    (first, first_ids), (second, second_ids) = template.fresh(rng), template.fresh(rng)
    assert [event["id"] for event in json.loads(first)] == first_ids
    assert [event["id"] for event in json.loads(second)] == second_ids
    assert len({uuid.UUID(each) for each in first_ids + second_ids}) == 10


@pytest.mark.parametrize(("measured", "met"), [(0.2, "MISSED"), (0.25, "floor"), (0.31, "aim"), (None, "not measured")])
def test_a_ratio_is_held_against_its_floor_and_aim(measured, met):
    assert Row("x", "x", measured, "D", 0.25, 0.30).met == met


def test_of_times_less_is_better():
    assert Row("x", "x", 80, "ms", 250, 90, more_is_better=False).met == "aim"
    assert not_measured("x", "x", "ms", "no wrk").note == "no wrk"
