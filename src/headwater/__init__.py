"""Headwater: self-hosted, real-time analytics. Start reading at ARCHITECTURE.md, then `boot.py`."""
