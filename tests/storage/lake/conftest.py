import sys
from pathlib import Path

# `lakerows.py` beside this file makes the rows of these tests, also in the child that is killed.
sys.path.insert(0, str(Path(__file__).parent))
