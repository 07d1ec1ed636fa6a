"""An error is raised, and its sentence is the one in ``tests/golden/words/ROOM.json``."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.golden_words import assert_says


@contextmanager
def refused(
    error: type[Exception], room: str, key: str, tmp: Path | None = None
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """The block raises ``error`` with the golden sentence of ``key``.

    Args:
        error: the class.
        room: the golden file.
        key: names the occasion.
        tmp: this folder is ``DIR`` in the sentence.
    """
    with pytest.raises(error) as caught:
        yield caught
    assert_says(room, key, timeless(str(caught.value), tmp))


def timeless(text: str, tmp: Path | None = None) -> str:
    """``text`` with a folder as DIR, and without ids of processes, hosts and minutes."""
    text = text if tmp is None else text.replace(str(tmp), "DIR")
    return re.sub(r"process \d+( on \S+, for \d+ min)?", "process PID", text)
