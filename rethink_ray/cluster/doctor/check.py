"""One line of the preflight: a fact, whether it is all right, and if not how to fix it."""

from collections.abc import Callable
from dataclasses import dataclass

from rethink_ray.spec.errors import RethinkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the preflight."""

    name: str
    ok: bool
    detail: str
    """The fact; if ``ok`` is false, also the remedy."""


def build_check(name: str, fact: str, is_well: bool, remedy: str) -> Check:
    """A check that states ``fact``, and ``remedy`` only if the check fails."""
    return Check(name=name, ok=is_well, detail=fact if is_well else f"{fact}. To do: {remedy}")


def try_check(name: str, attempt: Callable[[], str], remedy: str) -> Check:
    """A check that passes if ``attempt`` returns, and states the returned text."""
    try:
        return Check(name=name, ok=True, detail=attempt())
    except RethinkError as error:
        return Check(name=name, ok=False, detail=str(error))
    except Exception as error:
        first = str(error).strip().splitlines()[:1]
        fact = f"{type(error).__name__}: {first[0][:300] if first else ''}"
        return Check(name=name, ok=False, detail=f"{fact}. To do: {remedy}")


def gib(num_bytes: int) -> str:
    """Bytes in GiB, as ``1.5 GiB``."""
    return f"{num_bytes / 2**30:.1f} GiB"
