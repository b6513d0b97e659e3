import pytest
from tests.served import Served


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for a module's tests; whatever they sent, at the end it must be as well as at the start."""
    with Served(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running
        totals = running.settled()
        assert totals["balanced"], totals
        assert running.health() == {"status": "ok", "reasons": []}
        said = running.said()
        for secret in running.keys.values():
            assert secret not in said.replace(str(running.data / "first-keys"), "")
        assert "unexpected_error" not in said, said[-4000:]
        assert "Traceback" not in said, said[-4000:]
        assert running.stop() == 0
