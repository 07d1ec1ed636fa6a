"""A property that is derived from a study's records, and kept until they grow."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from rethink_ray.records.state import StudyState

Derived = TypeVar("Derived")


class HoldsAnswers(Protocol):
    """A view of records that keeps what was derived from them."""

    answers: dict[str, tuple[int, Any]]
    """Name of a property -> the version of the records it was derived from, and its value."""

    @property
    def state(self) -> StudyState:
        """The records."""


class FromRecords(Generic[Derived]):
    """A property of a view that is derived anew once the records have grown."""

    def __init__(self, derive: Callable[[Any], Derived]) -> None:
        self._derive = derive
        self.__doc__ = derive.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, view: HoldsAnswers, owner: type | None = None) -> Derived:
        version, answer = view.answers.get(self._name, (-1, None))
        now = view.state.version
        if version != now:
            answer = self._derive(view)
            view.answers[self._name] = (now, answer)
        return answer  # type: ignore[no-any-return]
