"""Bytes become valid events in the log. Start at `receive.py`."""
