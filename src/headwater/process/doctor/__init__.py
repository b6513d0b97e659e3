"""Is all well with a project? One small function for each check, in the list CHECKS of `checks.py`."""
