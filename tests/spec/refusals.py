"""Checks an error of ``spec``: its facts here, its wording in ``golden/words/spec.json``."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rethink_ray.spec.errors import SpecError
from tests.golden_words import assert_says


@contextmanager
def refused(key: str, facts: Iterable[str] = (), path: Path | None = None) -> Iterator[None]:
    """The block raises a ``SpecError`` that names ``facts`` in the words kept under ``key``.

    Args:
        key: names the occasion, unique among all tests of ``spec``.
        facts: names, numbers and values that the message must hold.
        path: of the study file; the kept words have its name alone.
    """
    with pytest.raises(SpecError) as caught:
        yield
    message = str(caught.value)
    for fact in facts:
        assert fact in message, message
    assert_says("spec", key, message if path is None else message.replace(str(path), path.name))
