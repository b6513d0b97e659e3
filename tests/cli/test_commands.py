"""Every command as a person runs it: what it says, in a table and as JSON, and its exit code."""

import json
import uuid

import pytest

from headwater.cli.main import COMMANDS


def good(*arguments):
    return pytest.param(arguments, id=" ".join(arguments))


LISTS = [
    good("ledger"),
    good("ledger", "--rows"),
    good("query"),
    good("query", "events", "--last", "7d", "--by", "name", "--interval", "1d"),
    good("quarantine"),
    good("quarantine", "--all"),
    good("schema", "list"),
    good("metric", "list"),
    good("project", "list"),
    good("keys", "list"),
    good("lake", "ls"),
    good("lake", "history"),
    good("jobs", "list"),
    good("config"),
]


@pytest.fixture(scope="module")
def filled(shared, tmp_path_factory):
    sent = [{"id": str(uuid.uuid4()), "name": "a"}, {"name": 5}, {"name": "b", "timestamp": "yesterday"}]
    shared.send(sent)
    shared.send(sent[:1])
    shared.settled()
    folder = tmp_path_factory.mktemp("bodies")
    (folder / "metric.json").write_text('{"name": "as", "aggregation": "count", "events": ["a"]}')
    (folder / "schema.json").write_text('{"type": "object", "properties": {"n": {"type": "number"}}}')
    assert shared.run_cli("metric", "put", str(folder / "metric.json")).returncode == 0
    put = shared.run_cli("schema", "put", "with-schema", str(folder / "schema.json"))
    assert (put.returncode, put.stdout) == (0, "schema with-schema version 1 is in force (enforce)\n")
    shared.event_id = sent[0]["id"]
    return shared


@pytest.mark.parametrize("arguments", LISTS)
def test_what_is_shown_is_a_table_for_people_and_json_for_programs(filled, arguments):
    table, machine = filled.run_cli(*arguments), filled.run_cli(*arguments, "--json")
    assert (table.returncode, machine.returncode) == (0, 0), table.stderr + machine.stderr
    assert json.loads(machine.stdout)
    assert table.stdout and not table.stdout.startswith("{")
    assert "Traceback" not in table.stderr + machine.stderr
    assert machine.stderr == ""


def test_the_ledger_is_a_sum_to_read_from_top_to_bottom(filled):
    said = filled.run_cli("ledger").stdout.splitlines()
    assert [line.split()[:3] for line in said[1:4]] == [
        ["received", "4"],
        ["=", "stored", "1"],
        ["+", "duplicate", "1"],
    ]
    assert said[-1].startswith("balanced: yes, up to ")
    rows = filled.run_cli("ledger", "--rows").stdout.splitlines()
    assert rows[0].split() == ["minute", "source", "received", "stored", "duplicate", "quarantined", "balanced"]


def test_the_quarantine_is_grouped_by_cause_with_an_example(filled):
    said = filled.run_cli("quarantine").stdout
    assert "TYPE_MISMATCH" in said and "INVALID_TIMESTAMP" in said
    every = filled.run_cli("quarantine", "--all").stdout
    assert "'yesterday'" in every


def test_a_receipt_exits_1_for_an_event_that_nobody_knows(filled):
    known = filled.run_cli("receipt", filled.event_id)
    assert known.returncode == 0 and "stored" in known.stdout
    assert json.loads(filled.run_cli("receipt", filled.event_id, "--json").stdout)["duplicates"] == 1
    unknown = filled.run_cli("receipt", str(uuid.uuid4()))
    assert unknown.returncode == 1 and "unknown" in unknown.stdout


def test_a_secret_key_is_shown_once_alone_on_its_line_and_works_until_it_is_revoked(filled):
    made = filled.run_cli("keys", "create", "reader", "--scope", "query")
    secret = made.stdout.strip()
    assert made.returncode == 0 and secret.startswith("hw_sk_")
    assert secret not in filled.run_cli("keys", "list").stdout
    assert filled.count("as", key=secret) == 1
    gone = filled.run_cli("keys", "revoke", "reader")
    assert (gone.returncode, gone.stdout) == (0, "key reader is revoked\n")
    assert filled.ask("GET", "/api/v1/settings", key=secret)[0] == 401


WRONG = [
    pytest.param(("nope",), 2, "no such command 'nope'", id="no such command"),
    pytest.param(("ledgr",), 2, "did you mean 'ledger'?", id="near command"),
    pytest.param(("query", "--limit", "0"), 2, "--limit", id="limit"),
    pytest.param(("query", "--last", "7x"), 2, "[INVALID_TIME_RANGE]", id="span"),
    pytest.param(("query", "evnts"), 1, "did you mean 'events'? [UNKNOWN_METRIC]", id="metric"),
    pytest.param(("query", "--by", "contry"), 2, "[UNKNOWN_FIELD]", id="dimension"),
    pytest.param(("query", "--body", "absent.json"), 2, "absent.json", id="absent body"),
    pytest.param(("query", "--body", "broken.json"), 2, "broken.json is not JSON", id="broken body"),
    pytest.param(("metric", "put", "broken.json"), 2, "[BAD_FILE]", id="broken metric"),
    pytest.param(("metric", "put", "list.json"), 2, "holds no JSON object [BAD_FILE]", id="no metric"),
    pytest.param(("schema", "put", "a", "broken.json"), 2, "[BAD_FILE]", id="broken schema"),
    pytest.param(("schema", "delete", "absent"), 1, "[NOT_FOUND]", id="absent schema"),
    pytest.param(("keys", "create", "x", "--scope", "everything"), 2, "$.scopes", id="scope"),
    pytest.param(("keys", "revoke", "absent"), 1, "[KEY_NOT_FOUND]", id="absent key"),
    pytest.param(("project", "create", "No"), 2, "[INVALID_NAME]", id="project name"),
    pytest.param(("receipt", "abc"), 2, "expected a UUID, got 'abc'", id="id"),
    pytest.param(("ledger", "--project", "absent"), 1, "[PROJECT_NOT_FOUND]", id="project"),
    pytest.param(("ledger", "--start", "now"), 2, "[INVALID_TIME]", id="time"),
    pytest.param(("ledger", "--url", "example"), 2, "[BAD_URL]", id="url"),
    pytest.param(("ledger", "--url", "http://127.0.0.1:1"), 1, "[NO_ANSWER]", id="nobody there"),
    pytest.param(("import", "absent.log"), 2, "absent.log", id="absent file"),
    pytest.param(("import", "broken.json", "--time-zone", "Mars"), 2, "[UNKNOWN_TIME_ZONE]", id="zone"),
    pytest.param(("import", "plain.unknown"), 2, "[UNKNOWN_FORMAT]", id="format"),
    pytest.param(("lake", "rebuild", "--check"), 2, "for a stopped service", id="rebuild checked while served"),
    pytest.param(("serve", "--port", "99999"), 2, "[BAD_SETTING]", id="port"),
    pytest.param(("serve", "--port", "0", "--open", "--host", "0.0.0.0"), 2, "[OPEN_NOT_LOOPBACK]", id="open"),
    pytest.param(("serve", "--port", "0"), 1, "[ROLE_RUNNING]", id="served already"),
    pytest.param(("demo", "--port", "0"), 2, "name another folder", id="demo on somebody's data"),
    pytest.param(("config", "--config", "absent.toml"), 2, "[BAD_SETTINGS_FILE]", id="settings file"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG)
def test_what_is_wrong_is_said_in_a_line_with_its_cure(filled, headwater, tmp_path, arguments, code, words):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "plain.unknown").write_text("x\n")
    data = () if len(arguments) == 1 or "--url" in arguments else ("--data", filled.data)
    done = headwater(*arguments, *data)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert len(done.stderr.splitlines()) <= 4


def test_a_setting_of_the_environment_that_is_wrong_is_named(headwater):
    unknown = headwater("config", env={"HEADWATER_SERVER__PRT": "1"})
    assert unknown.returncode == 2 and "did you mean 'server.port'?" in unknown.stderr
    done = headwater("config", "--json", env={"HEADWATER_SERVER__PORT": "8081"})
    port = next(row for row in json.loads(done.stdout) if row["name"] == "server.port")
    assert (port["value"], port["origin"]) == (8081, "$HEADWATER_SERVER__PORT")


def test_a_server_elsewhere_is_reached_by_its_address_and_a_key(filled, headwater):
    url = ("--url", filled.address)
    without = headwater("ledger", *url, env={"HEADWATER_KEY": ""})
    assert without.returncode == 1 and "HEADWATER_KEY" in without.stderr
    assert headwater("ledger", *url, env={"HEADWATER_KEY": filled.keys["sk"]}).returncode == 0
    narrow = headwater("ledger", *url, env={"HEADWATER_KEY": filled.keys["in"]})
    assert narrow.returncode == 1 and "[SCOPE_MISSING]" in narrow.stderr


def test_without_a_server_a_command_works_on_the_folder_itself_and_says_nothing_of_how(headwater, tmp_path):
    absent = headwater("ledger")
    assert absent.returncode == 1 and "[NO_DATA]" in absent.stderr
    assert not (tmp_path / "headwater-data").exists(), "a look makes nothing"
    made = headwater("project", "create", "shop")
    assert made.returncode == 0 and "its keys are in headwater-data/first-keys" in made.stderr
    assert len(made.stderr.splitlines()) == 1
    listed = headwater("project", "list", "--json")
    assert [item["name"] for item in json.loads(listed.stdout)["items"]] == ["default", "shop"]
    assert listed.stderr == ""
    rebuilt = headwater("lake", "rebuild", "--check")
    assert rebuilt.returncode == 0 and "the same rows" in rebuilt.stdout


def test_every_command_says_what_it_does_and_help_exits_0(headwater):
    whole = headwater("--help")
    assert whole.returncode == 0
    for name, (_, line) in COMMANDS.items():
        assert name in whole.stdout and line.endswith(".")
    assert headwater("--version").stdout.startswith("headwater, version ")
