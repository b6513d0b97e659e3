"""Big files in little memory."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTER = """
import sys
from pathlib import Path
from headwater.collect.importing.run import import_files
def send(body, headers):
    return {"accepted": body.count(b'"batchId"'), "duplicate": 0, "quarantined": 0}
report = import_files([Path(sys.argv[1])], send)
# Not ru_maxrss: that of a child begins at what its parent had when it forked.
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(report.accepted, int(peak) // 1024)
"""
PAD = "x" * 300
LINES = {
    "e.log": f'192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /{PAD} HTTP/1.1" 200 5120 "-" "Firefox"\n',
    "e.ndjson": f'{{"name":"a","data":{{"attributes":{{"pad":"{PAD}","n":1.5}}}}}}\n',
    "e.json": f'{{"name":"a","data":{{"attributes":{{"pad":"{PAD}","n":1.5}}}}}},',
    "e.csv": f'a,1.5,"{PAD}"\n',
}


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see a peak of memory")


def import_big(path: Path, name: str, megabytes: int) -> tuple[int, int, int]:
    """(lines, accepted, megabytes of memory at most)."""
    line = LINES[name]
    block = line * ((1 << 20) // len(line))
    path = path / name
    with path.open("w") as file:
        file.write({"e.csv": "name,n,pad\n", "e.json": "["}.get(name, ""))
        for _ in range(megabytes):
            file.write(block)
        if name == "e.json":
            file.write(line.removesuffix(",") + "]")
    done = subprocess.run([sys.executable, "-c", IMPORTER, str(path)], check=True, capture_output=True, text=True)
    accepted, peak = map(int, done.stdout.split())
    return megabytes * ((1 << 20) // len(line)) + (name == "e.json"), accepted, peak


@pytest.mark.parametrize("name", LINES)
def test_a_file_of_16_megabytes_takes_no_memory_for_its_size(tmp_path: Path, name: str) -> None:
    lines, accepted, peak = import_big(tmp_path, name, 16)
    assert accepted == lines
    assert peak < 80


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_a_file_of_200_megabytes_takes_no_memory_for_its_size(tmp_path: Path, name: str) -> None:
    lines, accepted, peak = import_big(tmp_path, name, 200)
    assert accepted == lines
    assert peak < 80
