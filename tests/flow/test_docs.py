"""The tutorial's blocks are run, in order, as they stand."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_block_of_the_tutorial_works_when_pasted(served, tmp_path):
    text = (ROOT / "docs" / "tutorial.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 7
    script = "set -e\n" + "\n".join(blocks)
    script = script.replace("http://127.0.0.1:8080", served.address)
    script = script.replace(".venv/bin/headwater", str(ROOT / ".venv" / "bin" / "headwater"))
    script = script.replace("curl -s", "curl -s --fail-with-body")
    (tmp_path / "headwater-data").symlink_to(served.data)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"accepted":2' in done.stdout.replace(" ", "")
    assert "TYPE_MISMATCH" in done.stdout or "SCHEMA_VIOLATION" in done.stdout
    assert "balanced: yes" in done.stdout
