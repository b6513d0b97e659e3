"""A ledger that does not balance is told without anybody asking for it, and changes nothing for senders."""

import secrets
import shlex

import duckdb
import pytest
from tests.served import Served

QUICK = {
    "HEADWATER_OBSERVE__LEDGER_SECONDS": "0.1",
    "HEADWATER_LAKE__SEAL_SECONDS": "0.1",
    "HEADWATER_LOG__SEGMENT_BYTES": str(1 << 20),
}

DEFAULT = 'project="default"'


@pytest.fixture
def own(tmp_path):
    with Served(tmp_path / "data", env=QUICK) as running:
        yield running


def gauge(served, name, label):
    """A value on /metrics, None where there is none."""
    lines = served.ask("GET", "/metrics")[2].decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{{label}}} ")), None)


def reason(served):
    """Of an unbalanced ledger, as soon as health tells one."""
    return served.wait_for(
        lambda: next((one for one in served.health()["reasons"] if one["code"] == "LEDGER_UNBALANCED"), None)
    )


def test_a_row_taken_out_behind_everybodys_back_is_told_with_the_command_that_shows_it(own):
    own.send([{"name": "a"}] * 3)
    own.settled()
    own.wait_for(lambda: gauge(own, "headwater_part_state", 'part="default.ledger"') == 0)
    assert own.stop() == 0
    own.break_ledger()
    own.start()
    told = reason(own)
    assert (told["name"], told["state"], told["needed"]) == ("default.ledger", "degraded", False)
    assert told["detail"].startswith("1 events are received and not accounted for, in the minute 20")
    assert own.ask("GET", "/health/ready", key=None)[0] == 200
    assert own.send([{"name": "b"}])[0] == 201
    assert gauge(own, "headwater_ledger_balanced_info", DEFAULT) == 0
    assert gauge(own, "headwater_ledger_unbalanced_events", DEFAULT) == 1
    _, command, *arguments = shlex.split(told["detail"].partition("look: ")[2])
    shown = own.run_cli(command, *arguments)
    assert shown.returncode == 1 and "balanced: NO" in shown.stdout
    assert reason(own)["since"] == told["since"]
    assert own.stop() == 0
    assert own.said().count('"ledger_unbalanced"') == 1
    with duckdb.connect(str(own.project_folder() / "warehouse" / "warehouse.duckdb")) as warehouse:
        warehouse.execute("insert into ledger select minute, source, 1, 0, 0, 0, 0, 0 from ledger limit 1")
    own.start()
    own.wait_for(lambda: gauge(own, "headwater_ledger_balanced_info", DEFAULT) == 1)
    assert own.health() == {"status": "ok", "reasons": []}


def test_segments_deleted_by_hand_are_told_while_it_runs(own):
    big = [{"name": "a", "data": {"attributes": {"text": secrets.token_hex(5000)}}} for _ in range(200)]
    log = own.project_folder() / "log"
    while len(list(log.glob("*.segment"))) < 3:
        assert own.send(big)[0] == 201
    own.settled()
    min(log.glob("*.segment")).unlink()
    told = reason(own)
    assert "events are accounted for and not received" in told["detail"]
    assert gauge(own, "headwater_ledger_unbalanced_events", DEFAULT) < 0
    assert own.send([{"name": "b"}])[0] == 201


def test_a_project_that_is_closed_is_not_looked_at_any_more(tmp_path):
    with Served(tmp_path / "data", env={**QUICK, "HEADWATER_PROJECTS__IDLE_MINUTES": "0.01"}) as own:
        own.cli("project", "create", "shop", "--json")
        own.run_cli("ledger", "--project", "shop")
        own.wait_for(lambda: gauge(own, "headwater_part_state", 'part="shop.ledger"') == 0)
        own.wait_for(lambda: gauge(own, "headwater_part_state", 'part="shop.ledger"') is None)
        assert own.health() == {"status": "ok", "reasons": []}
