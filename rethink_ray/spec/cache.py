"""The folder of this machine for files that can be made or downloaded again."""

import os
from pathlib import Path

CACHE_VARIABLE = "RETHINK_RAY_CACHE"


def cache_folder() -> Path:
    """``$RETHINK_RAY_CACHE``, or ``~/.cache/rethink-ray``."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "rethink-ray"
