"""Structured tables that answer questions. The contract is `base.py`; `duckdb/` is the embedded backend."""
