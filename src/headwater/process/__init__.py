"""From the log to lake and warehouse. Start at `pipeline.py` (the steps) and `stream.py` (the loop)."""
