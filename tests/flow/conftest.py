import pytest
from tests.served import Served


@pytest.fixture
def served(tmp_path):
    with Served(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for tests that leave each other alone."""
    with Served(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running
