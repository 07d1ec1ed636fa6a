"""The error tree. Every message reads: where, what must hold, what came, what to do.

Errors cross process borders on a cluster, so each one pickles by its message alone.
"""

import re

ANY_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class RethinkError(Exception):
    """A failure the program foresaw; the command line prints it without a traceback."""


class SpecError(RethinkError):
    """A study, recipe or setting does not say something that can be run."""


class DataError(RethinkError):
    """A data set cannot be read as what it claims to be."""


class RecordError(RethinkError):
    """A study directory does not hold what the program wrote there."""


class Diverged(RethinkError):
    """The loss stopped being a finite number.

    Raised by ``training``; ends a trial as a result, never as a fault of the machine.
    """

    def __init__(self, message: str, step: int = -1) -> None:
        super().__init__(message)
        self.step = step

    def __reduce__(self) -> tuple[type["Diverged"], tuple[str, int]]:
        return type(self), (str(self), self.step)


class Infeasible(RethinkError):
    """The method itself does not fit the device (its own out-of-memory)."""


class Misconfigured(RethinkError):
    """The live optimizer, model or loader does not have the value that was asked for."""


def explain(where: str, must: str, came: object, remedy: str = "") -> str:
    """One error sentence in the house form: ``{where}: {must}, but got {came}. {remedy}``."""
    shown = f"'{came}'" if isinstance(came, str) else repr(came)
    return f"{where}: {must}, but got {shown}. {remedy}".rstrip()


def mask_numbers(text: str) -> str:
    """``text`` with ``#`` for each number: messages that differ in a step or in bytes are one."""
    return ANY_NUMBER.sub("#", text)
