import pytest
from tests.served import Served


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One server for tests that leave each other alone."""
    with Served(tmp_path_factory.mktemp("api") / "data") as running:
        yield running


@pytest.fixture
def make_key(shared):
    """A new key of the project default: (id, secret)."""

    def make(*scopes, **fields):
        status, _, made = shared.ask("POST", "/api/v1/keys", {"name": "test", "scopes": scopes, **fields})
        assert status == 201, made
        return made["id"], made["secret"]

    return make
