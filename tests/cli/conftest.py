import os
import subprocess
import sys

import pytest


@pytest.fixture
def headwater(tmp_path):
    """The command as a person runs it, in an empty folder; `env` is added to the environment."""

    def run(*arguments, env=None, stdin=None):
        command = [sys.executable, "-m", "headwater", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
