"""Projects, keys, schemas, definitions and their versions. The contract is `base.py`; `sqlite.py` is embedded."""
