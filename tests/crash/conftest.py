import sys
from pathlib import Path

# `frames.py` of the processor's tests makes the batches here too.
sys.path.insert(0, str(Path(__file__).parent.parent / "process"))
