"""The blocks of the tutorial and of how-to pages are run, in order, as they stand."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_blocks(page, served, folder, *, blocks_min):
    """What the blocks of a page of docs/ print, run in `folder` against a server."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= blocks_min
    script = "set -e\n" + "\n".join(blocks)
    script = script.replace("http://127.0.0.1:8080", served.address)
    script = script.replace(".venv/bin/headwater", str(ROOT / ".venv" / "bin" / "headwater"))
    script = script.replace("curl -s", "curl -s --fail-with-body")
    (folder / "headwater-data").symlink_to(served.data)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_of_the_tutorial_works_when_pasted(served, tmp_path):
    said = run_blocks("tutorial.md", served, tmp_path, blocks_min=7)
    assert '"accepted":2' in said.replace(" ", "")
    assert "TYPE_MISMATCH" in said or "SCHEMA_VIOLATION" in said
    assert "balanced: yes" in said


def test_every_block_of_the_page_on_schemas_works_when_pasted(served, tmp_path):
    said = run_blocks("how-to/schemas.md", served, tmp_path, blocks_min=2)
    assert "one of EUR, USD" in said
    assert "of the last 20 events of version 1, 10 would fail" in said


def test_every_block_of_the_page_on_the_quarantine_works_when_pasted(served, tmp_path):
    printed = run_blocks("how-to/quarantine.md", served, tmp_path, blocks_min=5)
    for said in ("2 selected: 1 would be stored", "4 selected: 3 stored", "balanced: yes", "jobId"):
        assert said in printed, printed


def test_every_block_of_the_page_on_retention_works_when_pasted(served, tmp_path):
    said = run_blocks("how-to/retention.md", served, tmp_path, blocks_min=4)
    assert "would be removed" in said
    assert "balanced: yes" in said
    assert "succeeded" in said


def test_every_block_of_the_page_on_the_doctor_works_when_pasted(served, tmp_path):
    printed = run_blocks("how-to/doctor.md", served, tmp_path, blocks_min=1)
    assert printed.count("healthy: ") == 2 and '"healthy":true' in printed.replace(" ", "")


def test_every_block_of_the_page_on_upgrades_works_when_pasted(served, tmp_path):
    printed = run_blocks("how-to/upgrade.md", served, tmp_path, blocks_min=1)
    assert '"switched": true' in printed and "warehouse-rebuild" in printed and "healthy: " in printed


def test_every_block_of_the_page_on_the_lake_works_when_pasted(served, tmp_path):
    printed = run_blocks("how-to/lake.md", served, tmp_path, blocks_min=5)
    assert printed.count("succeeded") == 3
    for said in ("CREATE TABLE", "version 0", '"events":0', "nothing is over"):
        assert said in printed, printed
