"""The error tree, and the one form of its messages: where, what must hold, what came, what to do.

Errors cross process borders on a cluster, so each of them survives pickling with its fields.
"""

import re
from typing import Self

LONGEST_SHOWN = 2000
"""Characters of a value that a message shows."""
ANY_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Explanation(str):
    """One message, ``{where}: {must}, but got {came}. {remedy}``, that keeps its four parts."""

    where: str
    must: str
    came: str
    """The value as the message shows it."""
    remedy: str

    @classmethod
    def of(cls, where: str, must: str, shown: str, remedy: str = "") -> Self:
        """The message about a value that is shown as it stands here."""
        message = cls(f"{where}: {must}, but got {shown}. {remedy}".rstrip())
        message.where, message.must, message.came, message.remedy = where, must, shown, remedy
        return message

    def within(self, where: str) -> "Explanation":
        """The same message about a key inside ``where``."""
        inside = f"{where}: {self.where}" if self.where else where
        return Explanation.of(inside, self.must, self.came, self.remedy)


def explain(where: str, must: str, came: object, remedy: str = "") -> Explanation:
    """The message for an error: pass it to the error's class.

    Args:
        where: the file, then the key, separated by ``: ``.
        must: what must hold, beginning with "must".
        came: the value that broke it.
        remedy: what the reader can do, as a sentence.
    """
    shown = show_value(came)
    if len(shown) > LONGEST_SHOWN:
        shown = f"{shown[:LONGEST_SHOWN]}... ({len(shown)} characters)"
    return Explanation.of(where, must, shown, remedy)


def say_error(error: BaseException) -> str:
    """``KeyError: 'blocks'``: the type of another program's error, and its message's first line."""
    message = str(error).strip() or "without a message"
    return f"{type(error).__name__}: {message}".splitlines()[0]


def show_value(value: object) -> str:
    """A value as a study file says it: ``null``, ``true``, ``[2, 4]``, ``{unit: 60}``, ``'gn'``."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'"
        case list() | tuple():
            return f"[{', '.join(map(show_value, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {show_value(v)}' for key, v in value.items())}}}"
    return repr(value)


class RethinkError(Exception):
    """A failure that the program foresaw; the command line prints it without a traceback.

    ``where``, ``must``, ``came`` and ``remedy`` are those of the message, and empty where it is a
    plain sentence. An error with several messages shows one per line; its fields are the first's.
    """

    def __init__(self, *messages: str) -> None:
        super().__init__(*messages)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))

    @property
    def where(self) -> str:
        """File and key."""
        return self._field("where")

    @property
    def must(self) -> str:
        """What must hold."""
        return self._field("must")

    @property
    def came(self) -> str:
        """The value that broke it, as the message shows it."""
        return self._field("came")

    @property
    def remedy(self) -> str:
        """What the reader can do."""
        return self._field("remedy")

    def within(self, where: str) -> Self:
        """The same error about a key inside ``where``."""
        return type(self)(
            *(
                message.within(where) if isinstance(message, Explanation) else f"{where}: {message}"
                for message in self.args
            )
        )

    def _field(self, name: str) -> str:
        first = self.args[0] if self.args else ""
        return getattr(first, name) if isinstance(first, Explanation) else ""


class SpecError(RethinkError):
    """A study, recipe or setting does not say something that can be run."""


class DataError(RethinkError):
    """A data set cannot be read as what it claims to be."""


class RecordError(RethinkError):
    """A study directory does not hold what the program wrote there."""


class Diverged(RethinkError):
    """The loss stopped being a finite number.

    ``training`` raises it. It ends a trial as a result of the method, not as a machine's failure.
    """

    def __init__(self, message: str, step: int = -1) -> None:
        super().__init__(message)
        self.step = step

    def __reduce__(self) -> tuple[type["Diverged"], tuple[str, int]]:
        return type(self), (self.args[0], self.step)


class Infeasible(RethinkError):
    """The method itself does not fit the device (its own out-of-memory)."""


class Misconfigured(RethinkError):
    """The live optimizer, model or loader does not have the value that the recipe gives."""


def mask_numbers(text: str) -> str:
    """``text`` with ``#`` for each number: messages that differ in a step or in bytes are one."""
    return ANY_NUMBER.sub("#", text)
