"""The doors to the outside: one folder per seam, one file or folder per backend. Start at each `base.py`."""
