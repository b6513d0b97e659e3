"""`headwater import`: what the table says is true, the second time too."""

import json
import os
import subprocess
import sys

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


def test_bad_lines_stand_in_quarantine_once_however_often_a_file_is_brought_in(served, tmp_path):
    """Lines that are no events and events that are wrong; by the folder and by address; after kill -9 too."""
    lines = [
        "nonsense"
        if n % 50 == 0
        else '{"name": 7}'
        if n % 50 == 1
        else f'{{"name": "a", "data": {{"attributes": {{"n": {n}}}}}}}'
        for n in range(20_000)
    ]
    (tmp_path / "some.ndjson").write_text("\n".join(lines))
    command = [sys.executable, "-m", "headwater", "import", str(tmp_path / "some.ndjson"), "--data", str(served.data)]

    def received():
        return served.ask("GET", "/api/v1/ledger")[2]["totals"]["received"]

    for part in (2_000, 8_000):
        before = received()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            served.wait_for(lambda: received() >= min(before + part, 19_000) or running.poll() is not None)  # noqa: B023
            running.kill()
    # A state that is older than what was sent, as kill -9 leaves it between the two.
    for state in (served.data / "imports").iterdir():
        state.unlink()
    assert served.run_cli("import", str(tmp_path / "some.ndjson")).returncode == 3
    first = served.settled()
    assert (first["stored"], first["quarantined"], first["balanced"]) == (19_200, 800, True)
    env = {**os.environ, "HEADWATER_KEY": served.keys["sk"]}
    again = subprocess.run(
        [*command[:-2], "--url", served.address, "--json"], env=env, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 3, again.stderr
    assert json.loads(again.stdout)["ledger"] == {"stored": 0, "duplicate": 20_000, "quarantined": 0, "suppressed": 0}
    _, _, groups = served.ask("GET", "/api/v1/quarantine?groupBy=code")
    assert sum(group["count"] for group in groups["items"]) == 800
