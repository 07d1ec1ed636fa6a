"""Sentences that the program says, kept in few files: ``tests/golden/words/ROOM.json``.

A test checks facts itself and leaves the wording to ``assert_says``. After a change of words:
``REWRITE_GOLDEN=1 pytest tests/ROOM`` (one process), then read the diff.
"""

import json
import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden" / "words"


def assert_says(room: str, key: str, text: str) -> None:
    """``text`` is what the room's golden file holds under ``key``; times and paths must be gone.

    Args:
        room: ``spec``, ``judge``, ``commands``: the golden file.
        key: names the occasion, unique in the room: ``study without arms``.
        text: the sentence, message or page as the user sees it.
    """
    path = FOLDER / f"{room}.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if os.environ.get("REWRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(dict(sorted({**kept, key: text}.items())), indent=1) + "\n")
        return
    assert text == kept.get(key), f"{key}: if the new words are right, REWRITE_GOLDEN=1"
