"""What the journal of a running service says: lines of every kind, with their ids, without secrets or bodies."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.served import Served

SECRET = "a-word-that-stands-in-bodies-only"


def lines_of(served):
    said = served.journal.read_text()
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")], said


def test_all_kinds_of_lines_carry_their_ids_and_never_a_secret_or_a_body(tmp_path):
    env = {"HEADWATER_OBSERVE__LEVEL": "debug"}
    with Served(tmp_path / "data", env=env) as served:
        sent = [{"name": "a", "data": {"attributes": {"word": SECRET}}}]
        _, headers, answer = served.send(sent, headers={"X-Request-Id": "mine"})
        assert headers["x-request-id"] == "mine"
        assert served.send(f'{{"name": "{SECRET}'.encode(), headers={"X-Request-Id": "broken"})[0] == 400
        made = served.ask("POST", "/api/v1/keys", {"name": "k"}, headers={"X-Request-Id": "making"})[2]
        served.ask("PUT", "/api/v1/schemas/a@1", {"name": "a", "jsonSchema": {"description": SECRET}})
        served.ask("GET", f"/api/v1/ledger?key={served.keys['sk']}", key=None)
        served.ask("GET", "/api/v1/ledger", key="hw_sk_" + "x" * 27)
        served.settled()
        keys = [*served.keys.values(), made["secret"], "hw_sk_" + "x" * 27]
        (served.data / "catalog.sqlite").write_bytes(b"no database" * 10_000)
        assert served.ask("POST", "/api/v1/keys", {"name": "l"}, headers={"X-Request-Id": "wrecked"})[0] == 500
        served.wait_for(lambda: "CATALOG_DAMAGED" in served.journal.read_text())
        served.kill()
        lines, said = lines_of(served)
    for hidden in (SECRET, *keys):
        assert hidden not in said

    def found(**facts):
        return [line for line in lines if line.items() >= facts.items()]

    (told,) = found(kind="access", request_id="mine")
    assert (told["batch_id"], told["status"], told["level"]) == (answer["batchId"], 201, "debug")
    (refused,) = found(kind="access", request_id="broken")
    assert (refused["status"], refused["level"]) == (400, "info")
    (audited,) = found(kind="audit", event="key_created")
    assert (audited["request_id"], audited["key_id"], audited["project"]) == ("making", made["id"], "default")
    assert found(kind="audit", event="schema_created", name="a@1")
    assert found(kind="audit", event="credentials_refused", level="warning")
    assert found(kind="application", event="ready")
    assert found(kind="error", request_id="wrecked")
    assert all(re.fullmatch(r"[0-9T:.-]+Z", line["at"]) for line in lines)


def test_the_pipeline_tells_of_its_seals(tmp_path):
    with Served(tmp_path / "data", env={"HEADWATER_LAKE__SEAL_EVENTS": "1"}) as served:
        served.send([{"name": "a"}])
        served.wait_for(lambda: [line for line in lines_of(served)[0] if line["event"] == "lake_sealed"])
        (sealed,) = [line for line in lines_of(served)[0] if line["event"] == "lake_sealed"]
    assert (sealed["kind"], sealed["project"], sealed["events"]) == ("pipeline", "default", 1)


def test_first_keys_are_shown_on_a_terminal_and_nowhere_else(tmp_path):
    with Served(tmp_path / "apart") as served:
        assert "hw_" not in served.journal.read_text()
        assert served.keys["sk"].startswith("hw_sk_")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "headwater", "serve", "--data", str(tmp_path / "shown"), "--port", "0"]
    running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    said = read_until(ours, "hw_sk_")
    assert "These keys are shown once" in said
    running.send_signal(signal.SIGINT)
    said += read_until(ours, None)
    assert running.wait(15) == 0
    kept = (tmp_path / "shown" / "first-keys").read_text()
    assert set(re.findall(r"hw_sk_\w+", said)) <= set(re.findall(r"hw_sk_\w+", kept))
    assert "stopped" in said and '{"at"' not in said, "lines for people"
    assert Path(tmp_path / "shown" / "first-keys").stat().st_mode & 0o777 == 0o600


def read_until(descriptor, word):
    """What a terminal gets, up to the line with `word`, or to its end."""
    said = ""
    while word is None or word not in said or not said.endswith("\n"):
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # the other side is closed
            break
        said += part.decode(errors="replace")
    return said
