"""Keeps a failure inside its section, so that all other sections are still written.

A derived part, a table, a figure and a key of ``findings.json`` are all sections here. A section
that fails leaves a sentence in its place: what is missing, why, and what to do.
"""

import logging
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from rethink_ray.records.failures import FAILURE_FILE

_Built = TypeVar("_Built")
_Instead = TypeVar("_Instead")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSection:
    """A section that could not be built."""

    name: str
    reason: str
    """One line."""
    story: str = ""
    """The traceback; empty where another missing section is the cause."""

    @property
    def sentence(self) -> str:
        """Which section, why, and what to do."""
        return (
            f"{self.name}: this section is missing, because {self.reason}. Nothing is wrong with "
            "the records. Sections that need this one are missing too and say so; all others are "
            f"complete. rethink-ray report writes the traceback to report/{FAILURE_FILE}: send us "
            "that file, and write the report again once the fault is fixed."
        )


class Containment:
    """Builds sections, and keeps a list of those that failed."""

    def __init__(self, missing: Iterable[MissingSection] = ()) -> None:
        """``missing``: sections that failed earlier, on which later ones may rest."""
        self._missing = {section.name: section for section in missing}

    @property
    def missing(self) -> tuple[MissingSection, ...]:
        """Every section that failed so far, in order."""
        return tuple(self._missing.values())

    def sentence_of(self, name: str) -> str:
        """The sentence that replaces a section; empty for one that did not fail."""
        return self._missing[name].sentence if name in self._missing else ""

    def attempt(
        self, name: str, build: Callable[[], _Built], instead: _Instead, needs: Collection[str] = ()
    ) -> _Built | _Instead:
        """What ``build`` gives, or ``instead`` and a missing section.

        Args:
            name: of the section, as its reader knows it.
            build: makes the section.
            instead: stands for it if it fails.
            needs: sections it rests on. If one of them is missing, it is not tried: it would look
                empty although it is missing.
        """
        lacking = [need for need in needs if need in self._missing]
        if lacking:
            reason = f"it rests on '{lacking[0]}', which is missing as well"
            self._missing.setdefault(name, MissingSection(name=name, reason=reason))
            return instead
        try:
            return build()
        except Exception as error:
            self.note(name, error)
            return instead

    def note(self, name: str, error: Exception) -> None:
        """Notes that a section failed with this error; its first error counts."""
        _log.debug("section %r failed", name, exc_info=error)
        story = "".join(traceback.format_exception(error))
        missing = MissingSection(name=name, reason=_in_one_line(error), story=story)
        self._missing.setdefault(name, missing)


def missing_summary(missing: Collection[MissingSection]) -> str:
    """One sentence that names them all, for the top of a report; empty if there are none."""
    if not missing:
        return ""
    names = "; ".join(section.name for section in missing)
    heads = "1 section is" if len(missing) == 1 else f"{len(missing)} sections are"
    return f"{heads} missing, and a sentence in the place of each says why: {names}."


def stories(missing: Iterable[MissingSection]) -> str:
    """The tracebacks of missing sections, as one text."""
    return "\n".join(f"{m.name}: {m.reason}\n{m.story}" for m in missing)


def _in_one_line(error: Exception) -> str:
    """``ValueError (must be finite)``, so that it stands inside a sentence."""
    said = next(iter(str(error).strip().splitlines()), "").rstrip(".")[:200]
    return f"{type(error).__name__} ({said})" if said else type(error).__name__
