"""docs/reliability.md names tests that are there, and figures that were measured."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
NAMED = re.compile(r"`((?:tests|bench)/[\w/.]+)`")


def figures():
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promises():
    """(promise, tests) of each row of the first table."""
    table = PAGE.read_text().partition("| promise | tested by |")[2].partition("\n\n")[0]
    rows = [line.strip("|").rsplit("|", 1) for line in table.splitlines() if line.startswith("| **")]
    assert len(rows) >= 20
    return rows


def test_every_file_named_in_the_page_is_there():
    named = NAMED.findall(PAGE.read_text())
    assert len(named) >= 40
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_every_promise_names_a_test_that_tests_something():
    for promise, tests in promises():
        named = NAMED.findall(tests)
        assert named, promise
        for each in named:
            text = (ROOT / each).read_text()
            assert re.search(r"^(async )?def (test_|rows|main)", text, re.MULTILINE), (promise, each)


def test_the_figures_in_the_page_are_those_of_the_files():
    module = figures()
    page = PAGE.read_text()
    assert module.filled(page, module.block(ROOT / "docs" / "reliability")) == page, "run make docs"


def test_a_failed_kill_and_a_slope_that_does_not_hold_are_said(tmp_path):
    machine = {"date": "2026-11-24", "revision": "abc", "machine": {"cores": 2}}
    files = {"tests/a.py": {"kills": 20, "failed": 1}, "tests/b.py": {"kills": 3, "failed": 0, "events": 10}}
    kills = {**machine, "tests": {"passed": 5, "failed": 1, "error": 0}, "files": files}
    (tmp_path / "kills.json").write_text(json.dumps(kills))
    (tmp_path / "soak.json").write_text(json.dumps({**machine, "says": ["memory: NOT FLAT, +90.0 MB an hour"]}))
    block = figures().block(tmp_path)
    assert "3 kills; of 10 acknowledged" in block and "1 failed" in block
    assert "| `tests/a.py` | 20 | FAILED |" in block
    assert "NOT FLAT" in block


def test_the_outcomes_of_faults_are_told_by_what_was_tried(tmp_path):
    faults = {
        "crash-log": {"runs": 2, "faults": {"kill -9": 3}, "outcomes": {"found": 1200, "inFlight": 0}, "seconds": 1}
    }
    (tmp_path / "faults.json").write_text(json.dumps(faults))
    block = figures().block(tmp_path)
    assert "2 runs, 3 faults" in block
    assert "| log: a crash at every operation | 2 | 3 | found 1,200 |" in block


def test_restart_is_that_of_the_newest_full_run(tmp_path):
    facts = {"bench": "restart", "revision": "abc", "machine": {"cores": 2}}
    whole = {**facts, "absolute": {"kills": 3, "events": 9}}
    runs = [("2026-01-01", False, 1.5), ("2026-01-02", False, 2.5), ("2026-01-03", True, 9.0)]
    rows = [
        row | {"date": date, "quick": quick}
        for date, quick, seconds in runs
        for row in (
            whole | {"what": "kill -9 under load to the first answer", "measured": seconds},
            facts | {"what": "acknowledged and lost", "measured": 0},
            facts | {"what": "doubled", "measured": 0},
        )
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert figures().restart_of(path)["seconds"] == 2.5
