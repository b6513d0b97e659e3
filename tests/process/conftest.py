import sys
from pathlib import Path

# `frames.py` beside this file holds what the tests here make their frames with.
sys.path.insert(0, str(Path(__file__).parent))
