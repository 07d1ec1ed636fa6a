"""Taking turns with others who start Ray on this machine: two at once disturb each other."""

import fcntl
from pathlib import Path
from typing import IO


class Turns:
    """A file that whoever runs Ray holds locked; without a file everybody goes at once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._held: IO[str] | None = None

    def take(self) -> None:
        """It is our turn, perhaps after a wait."""
        if self._path is not None and self._held is None:
            self._held = self._path.open("a")
            fcntl.flock(self._held, fcntl.LOCK_EX)

    def give(self) -> None:
        """Somebody else may go."""
        if self._held is not None:
            self._held.close()
            self._held = None
