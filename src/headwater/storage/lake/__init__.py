"""Raw events as they came, versioned. The contract is `base.py`; `fs.py` keeps Delta tables on a local disk."""
