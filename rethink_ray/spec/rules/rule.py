"""A rule of the spec as data: the paths it reads, when it is broken, and what the error says.

    Rule(
        key="detector.background_iou",
        reads=("detector.family", "detector.foreground_iou"),
        broken=lambda run: run.recipe.detector.background_iou > ...,
        must="must be at most detector.foreground_iou = {detector.foreground_iou:g}",
    )

Rules inside one group of keys stand in its class (``Spec.rules``); rules between groups stand in
the files beside this one. ``find_breach`` evaluates both.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pydantic_core import PydanticCustomError

from rethink_ray.spec.errors import Explanation, SpecError, explain

S = TypeVar("S")
Words = Mapping[str, Any]
"""Name -> object: what ``{detector.norm}`` in a rule's sentences is filled from."""
BROKEN_RULE: Final = "broken_rule"
"""The type of pydantic's error for a broken rule; its context has key, must, came and remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """How a rule is broken, where its key and the value there do not say enough."""

    came: object
    key: str | None = None
    """Replaces the rule's."""
    words: Words = field(default_factory=dict)
    """Fills the rule's sentences, before the subject's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[S]):
    """One thing that must hold, about a subject ``S``."""

    key: str
    """The path that the error names."""
    reads: tuple[str, ...] = ()
    """The other paths that decide whether the rule is broken."""
    broken: Callable[[S], bool | Breach]
    must: str
    """What must hold; ``{...}`` is filled from the words."""
    remedy: str = ""
    """What the reader can do; filled likewise."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that the rule reads."""
        return (self.key, *self.reads)


def find_breach(rules: Iterable[Rule[S]], subject: S, words: Words) -> Explanation | None:
    """The message of the first rule that the subject breaks; its ``where`` is the key."""
    for rule in rules:
        breach = rule.broken(subject)
        if breach is False:
            continue
        if breach is True:
            breach = Breach(came=_value_at(words, rule.key))
        known = {**words, **breach.words}
        key = rule.key if breach.key is None else breach.key
        must, remedy = (text.format_map(known) for text in (rule.must, rule.remedy))
        return explain(key, must, breach.came, remedy)
    return None


def check_rules(rules: Iterable[Rule[S]], subject: S, words: Words, where: str) -> None:
    """The subject breaks no rule.

    Raises:
        SpecError: with the key of the first broken one inside ``where``.
    """
    if explanation := find_breach(rules, subject, words):
        raise SpecError(explanation.within(where))


def refuse_value(must: str, came: object, key: str = "", remedy: str = "") -> PydanticCustomError:
    """The error that a pydantic validator raises, with the parts of its message as fields."""
    return refusal_of(explain(key, must, came, remedy))


def refusal_of(explanation: Explanation) -> PydanticCustomError:
    """A message about one key of a group, as pydantic's error about the group."""
    parts = {
        "key": explanation.where,
        "must": explanation.must,
        "came": explanation.came,
        "remedy": explanation.remedy,
        "text": f"{explanation.where} {explanation.must}, but got {explanation.came}".strip(),
    }
    return PydanticCustomError(BROKEN_RULE, "{text}", parts)


def _value_at(words: Words, path: str) -> object:
    first, *rest = path.split(".")
    value = words[first]
    for name in rest:
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value
