"""`headwater import`: what the table says is true, the second time too."""

import json

LINE = '203.0.113.{n} - - [17/May/2015:10:05:{n:02d} +0000] "GET /{n} HTTP/1.1" 200 {n} "-" "agent"\n'


def weblog(path, lines, bad=""):
    path.write_text("".join(LINE.format(n=n) for n in range(lines)) + bad)
    return path


def test_the_same_file_twice_stores_nothing_twice_and_the_command_says_so(headwater, tmp_path):
    log = weblog(tmp_path / "access.log", 30)
    first, second = (headwater("import", log, "--format", "combined") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "30 stored, 0 here already, 0 to quarantine" in first.stdout
    assert "0 stored, 30 here already, 0 to quarantine" in second.stdout
    told = json.loads(headwater("import", log, "--format", "combined", "--json").stdout)
    assert told["ledger"] == {"stored": 0, "duplicate": 30, "quarantined": 0, "suppressed": 0}
    asked = headwater("query", "--last", "30y", "--by", "attributes.status", "--json")
    assert json.loads(asked.stdout)["rows"] == [[200, 30]]


def test_bad_lines_are_told_with_their_place_and_exit_3(shared, tmp_path):
    log = weblog(tmp_path / "some.log", 3, bad="nonsense\n")
    done = shared.run_cli("import", str(log), "--format", "combined")
    assert done.returncode == 3
    assert "some.log:4: " in done.stderr and "[MALFORMED_LINE]" in done.stderr
    assert "3 stored, 0 here already, 1 to quarantine" in done.stdout
    again = shared.run_cli("import", str(log), "--format", "combined")
    assert again.returncode == 3
    assert "0 stored, 3 here already, 0 to quarantine" in again.stdout


def test_a_file_that_is_not_of_its_format_is_told_and_the_others_go_in(shared, tmp_path):
    (tmp_path / "wrong.json").write_text("{")
    (tmp_path / "right.ndjson").write_text('{"name": "from-a-file"}\n')
    done = shared.run_cli("import", str(tmp_path / "wrong.json"), str(tmp_path / "right.ndjson"))
    assert done.returncode == 3
    assert "[UNREADABLE_FILE]" in done.stderr
    assert shared.count(filters=[{"field": "name", "operator": "eq", "value": "from-a-file"}]) == 1


def test_a_key_that_may_only_send_imports_and_is_told_nothing_it_may_not_know(shared, headwater, tmp_path):
    log = weblog(tmp_path / "web", 5)
    env = {"HEADWATER_KEY": shared.ask("POST", "/api/v1/keys", {"name": "s", "scopes": ["events:write"]})[2]["secret"]}
    done = headwater("import", log, "--format", "combined", "--url", shared.address, env=env)
    assert done.returncode == 0, done.stderr
    assert "5" in done.stdout and "ledger" not in done.stdout
