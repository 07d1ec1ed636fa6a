"""One thing that a preflight looked at: well, or what to do."""

from collections.abc import Callable
from dataclasses import dataclass

from rethink_ray.spec.errors import RethinkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the preflight."""

    name: str
    ok: bool
    detail: str
    """What was found; if it is not well, what to do."""


def judged(name: str, found: str, well: bool, remedy: str) -> Check:
    """A check that names its remedy only where one is needed."""
    return Check(name=name, ok=well, detail=found if well else f"{found}. To do: {remedy}")


def tried(name: str, attempt: Callable[[], str], remedy: str) -> Check:
    """Whether something works, by doing it; what it returns is shown."""
    try:
        return Check(name=name, ok=True, detail=attempt())
    except RethinkError as error:
        return Check(name=name, ok=False, detail=str(error))
    except Exception as error:
        first = str(error).strip().splitlines()[:1]
        found = f"{type(error).__name__}: {first[0][:300] if first else ''}"
        return Check(name=name, ok=False, detail=f"{found}. To do: {remedy}")


def gib(num_bytes: int) -> str:
    """Bytes as people read them."""
    return f"{num_bytes / 2**30:.1f} GiB"
