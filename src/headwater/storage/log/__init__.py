"""Events on their way: in order, durable, acknowledged. The contract is `base.py`; `files.py` is embedded."""
