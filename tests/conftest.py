from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.served import Served


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
