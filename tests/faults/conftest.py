"""The summary of all runs, at the end of the session; of several test processes together."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.tally import TALLY, table_of, write_figures

KEY = "headwater_faults"
MEMORY = Path("/dev/shm")


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what is synced and what is lost, the simulated disk knows."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="headwater-faults-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker[KEY] = TALLY.as_data()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    TALLY.add(getattr(node, "workeroutput", {}).get(KEY, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TALLY.runs:
        return
    data = TALLY.as_data()
    terminalreporter.section("fault suite")
    for line in table_of(data):
        terminalreporter.write_line(line)
    write_figures(data)
