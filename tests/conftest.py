import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.served import Served

# How fast examples come says how busy the machine is, nothing about what they test.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

KILL_FIGURES = "HEADWATER_KILL_FIGURES"
"""Names a file for what tests tell of their kills: `kills`, and acknowledged `events` that were looked for then."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server of this test's own."""
    with Served(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    """One server for each name, started when first asked for."""
    started: dict[str, Served] = {}
    with ExitStack() as running:

        def server(name: str) -> Served:
            if name not in started:
                started[name] = running.enter_context(Served(tmp_path_factory.mktemp(name) / "data"))
            return started[name]

        yield server


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, servers: Callable[[str], Served]) -> Served:
    """One server for all tests of a folder that leave each other alone."""
    return servers(request.path.parent.name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    target = os.environ.get(KILL_FIGURES)
    if not target:
        return
    from bench.report import machine, revision

    files: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            told = {name: n for name, n in report.user_properties if name in ("kills", "events")}
            if told:
                files[report.nodeid.partition("::")[0]].update({"tests": 1, "failed": int(outcome == "failed"), **told})
    tests = {outcome: len(terminalreporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "error")}
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "revision": revision(), "machine": machine(), "tests": tests}
    Path(target).write_text(json.dumps({**facts, "files": files}, indent=2, sort_keys=True) + "\n")
