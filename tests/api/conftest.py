import pytest


@pytest.fixture
def make_key(shared):
    """A new key of the project default: (id, secret)."""

    def make(*scopes, **fields):
        status, _, made = shared.ask("POST", "/api/v1/keys", {"name": "test", "scopes": scopes, **fields})
        assert status == 201, made
        return made["id"], made["secret"]

    return make
