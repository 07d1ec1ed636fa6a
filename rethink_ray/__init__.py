"""Ray-distributed hyperparameter studies for object detectors.

Python users call ``new``, ``plan``, ``run``, ``read_study`` and ``load_detector``. Each is imported
at its first use, so that ``import rethink_ray`` takes no time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rethink_ray.api import StudyResults, load_detector, new, plan, read_study, run

__all__ = ["StudyResults", "load_detector", "new", "plan", "read_study", "run"]


def __getattr__(name: str) -> Any:
    """The public names, at their first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rethink_ray import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
