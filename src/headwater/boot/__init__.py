"""The only place where settings become running things. Start at `serve.py`; a project's stores are in `project.py`."""
