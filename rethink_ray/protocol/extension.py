"""How a study that has started may grow: a larger budget, longer lengths, more arms or regimes.

All other keys are fixed; the study's fingerprint is their hash.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rethink_ray.protocol.additions import find_additions
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import Explanation, SpecError, explain
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.resolve import cells_of, keep_of, lengths_of, space_of
from rethink_ray.spec.sequential import SequentialReplicates
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study

FREE = (
    ("question",),
    ("budget", "trials"),
    ("budget", "replicates"),
    ("budget", "searches"),
    ("budget", "keep"),
    ("schedule", "lengths"),
    ("resources", "retries"),
    ("resources", "loader_workers"),
    ("data", "root"),
    ("checkpoints",),
)
"""Keys outside the fingerprint. ``keep`` may only grow at its end, which ``extend`` ensures. The
folder of the data may differ from machine to machine; their content is in the facts. Numbers that
wait for a decision (``replicates: {from, to, until}``) are inside: the looks are fixed."""


ABSENT = "left out"
SHOWN_KEYS = 5
"""An error about another study names at most so many keys."""
OF_CELLS = ("search", "settings", "schedule", "arms", "regimes", "try_first", "recipe", "tuning")
"""Keys that say what a cell trains: other values of them can be an arm of their own."""
ADDABLE = ("arms.", "regimes.", "claims")
"""Keys that can be added to a study that has begun."""
ADD_COMMAND = "rethink-ray resume DIR --study FILE"

YOUNGER_DATA_KEYS = {
    "unlabelled": None,
    "duplicates": "refuse",
    "frequency": None,
    "image_sets": None,
    "keep_empty": True,
    "min_keypoints": None,
    "upstream_detection": None,
    "voc_offset": 1,
}
"""Keys of ``data`` that are younger than the first release -> default."""


def fingerprint_of(study: Study) -> str:
    """The hash of all keys that a started study cannot change, as 16 hex digits.

    What was added after the first result is left out: the study keeps the hash that it began with.
    """
    tree = _fixed_keys(study)
    for edit in study.edits:
        added = (("arms", edit.arms), ("regimes", edit.regimes), ("claims", edit.claims))
        for group, names in added:
            for name in names:
                del tree[group][name]
    if not tree.get("claims"):
        tree.pop("claims", None)
    return digest_of(tree)


def _fixed_keys(study: Study) -> dict[str, Any]:
    """The keys of a study that are fixed once it has started.

    A key that is younger than the first release is left out at its default, and ``goal``, which
    was dropped, stands at its only value: so a study of any release keeps its fingerprint.
    """
    tree: dict[str, Any] = study.model_dump(mode="json")
    tree["objective"]["goal"] = "maximize"
    tree.pop("edits", None)
    for *groups, leaf in FREE:
        inner = tree
        for group in groups:
            inner = inner[group]
        inner.pop(leaf, None)
    for key, planned in _sequential_budgets(study).items():
        tree["budget"][key] = planned.model_dump(mode="json", exclude={"extended_to"})
    if study.resources.images_per_step is None:
        del tree["resources"]["images_per_step"]
    if study.resources.gpus_per_worker:
        del tree["resources"]["cpus_per_worker"]  # no number depends on it there
    for arm in tree["arms"].values():
        if arm["teacher"] is None:
            del arm["teacher"]
    if tree["schedule"]["converged"] is None:
        del tree["schedule"]["converged"]
    if tree["replicate"] == {"vary": ["seed"]}:
        del tree["replicate"]
    if not tree["claims"]:
        del tree["claims"]
    for key, default in YOUNGER_DATA_KEYS.items():
        if tree["data"][key] == default:
            del tree["data"][key]
    upstream = tree["data"].get("upstream_detection")
    if upstream is not None:
        del upstream["root"]  # free, as data.root is
    for data in filter(None, (tree["data"], upstream)):
        if isinstance(data["dataset"], dict):  # paths are free, too
            data["dataset"] = sorted(data["dataset"])
    return tree


def _sequential_budgets(study: Study) -> dict[str, SequentialReplicates]:
    """``replicates`` or ``searches`` -> the number that waits for a decision, if one does."""
    budgets = {"replicates": study.budget.replicates, "searches": study.budget.searches}
    return {key: b for key, b in budgets.items() if isinstance(b, SequentialReplicates)}


def extend(
    study: Study,
    *,
    trials: int | None = None,
    replicates: int | None = None,
    searches: int | None = None,
    lengths: Sequence[float] | None = None,
    keep: tuple[int, ...] | None = None,
) -> Study:
    """The study with a larger budget or a longer ladder; None leaves a number as it is.

    Args:
        study: as it was last continued.
        trials: search trials per cell, old ones included.
        replicates: replicates per incumbent, old ones included. Where they wait for a decision,
            the arms that the last look left open run on to this number.
        searches: searches per cell, likewise.
        lengths: the whole new ladder, or only the lengths to append to it.
        keep: for each length of the new ladder; None: new lengths keep as many as the last old one.

    Raises:
        SpecError: something would shrink, or a length would come between old ones.
    """
    budget = study.budget
    _refuse_less("trials", trials, budget.trials)
    _refuse_less("replicates", replicates, budget.num_replicates)
    _refuse_less("searches", searches, budget.num_searches)
    ladder = None if lengths is None else _longer(study, tuple(float(x) for x in lengths))
    longer_by = 0 if ladder is None else len(ladder) - len(_ladder(study))
    requested = {"trials": trials, "replicates": replicates, "searches": searches}
    larger = {k: _enlarge(getattr(budget, k), num) for k, num in requested.items()}
    if not longer_by and all(getattr(budget, k) == num for k, num in larger.items()):
        return study
    pinned = _pinned_keep(study)
    changed = study.model_copy(
        update={
            "budget": budget.model_copy(
                update={**larger, "keep": keep or pinned + pinned[-1:] * longer_by}
            ),
            "schedule": study.schedule.model_copy(update={"lengths": ladder})
            if longer_by
            else study.schedule,
        }
    )
    checked = Study.model_validate_json(changed.model_dump_json(exclude_unset=True))
    for cell in cells_of(checked) if longer_by else ():
        if lengths_of(checked, cell) != ladder:
            must = "must be the study's own ladder to be lengthened"
            raise SpecError(explain(f"resume: {cell.name}", must, list(lengths_of(checked, cell))))
    check_study(checked, "resume")
    return checked


def merge(current: Study, from_file: Study, add_with: str = ADD_COMMAND) -> Study:
    """The study of a file that is run again, with the larger budget and the longer ladder of both.

    Args:
        current: the study as it was last continued.
        from_file: the same study as its file says it now.
        add_with: the command that adds arms, for the message.

    Raises:
        SpecError: the file describes another study than the one that was started, or adds to it.
    """
    additions = find_additions(current, from_file)
    _require_same_study(current, additions.take_out_of(from_file), add_with)
    if not additions.is_empty:
        must = "must have the arms, regimes and claims that this directory was started with"
        shown = f"new ones: {additions.words}"
        raise SpecError(Explanation.of("study", must, shown, f"To add them: {add_with}"))
    return _merge_budgets(current, from_file)


def add_from_file(current: Study, from_file: Study, where: str, *, has_results: bool) -> Study:
    """The study with the arms, regimes and claims that its edited file adds, perhaps larger too.

    Args:
        current: the study as it was last continued.
        from_file: the same study as its file says it now.
        where: the file, for messages.
        has_results: a score was recorded before, so that the additions count as a look later.

    Raises:
        SpecError: the file changes or removes something, or the study it makes cannot be run.
    """
    additions = find_additions(current, from_file)
    kept = additions.take_out_of(from_file)
    _require_same_study(current, kept, ADD_COMMAND)
    grown = _merge_budgets(current, kept)
    if additions.is_empty:
        return grown
    changed = additions.put_into(grown, has_results=has_results)
    checked = Study.model_validate_json(changed.model_dump_json(exclude_unset=True))
    check_study(checked, where)
    return checked


def _require_same_study(current: Study, from_file: Study, add_with: str) -> None:
    """Refuses a file that changes or leaves out a key that a started study cannot change."""
    changes = list(_changed_keys(_fixed_keys(current), _fixed_keys(from_file)))
    if not changes:
        return
    more = f" and {len(changes) - SHOWN_KEYS} more" if len(changes) > SHOWN_KEYS else ""
    remedy = "Set the values back to continue (only trials, replicates, searches and lengths may "
    remedy += "grow), or give the new study another --out."
    if any(f" is {ABSENT} (" in one and one.startswith(ADDABLE) for one in changes):
        remedy += " Arms, regimes and claims that are there stay in the file."
    if any(change.startswith(OF_CELLS) for change in changes):
        remedy += f" To try other values as well, add an arm or a regime that has them: {add_with}"
    must = "must be the study that this directory was started with"
    shown = f"other values: {'; '.join(changes[:SHOWN_KEYS])}{more}"
    raise SpecError(Explanation.of("study", must, shown, remedy))


def _merge_budgets(current: Study, from_file: Study) -> Study:
    """The started study with the larger budget, the longer ladder and the free keys of its file.

    Raises:
        SpecError: the ladder or the halving of the file does not begin as the study's.
    """
    old, new = _ladder(current), _ladder(from_file)
    if new != old[: len(new)] and new[: len(old)] != old:
        raise SpecError(explain("schedule.lengths", f"must begin with {list(old)}", list(new)))
    keep, pinned = from_file.budget.keep, _pinned_keep(current)
    if keep and any(a != b for a, b in zip(keep, pinned, strict=False)):
        must = f"must begin with {list(pinned)}, as it was started"
        raise SpecError(explain("budget.keep", must, list(keep)))
    longer = len(new) > len(old)
    larger = extend(
        current,
        trials=max(current.budget.trials, from_file.budget.trials),
        replicates=max(current.budget.num_replicates, from_file.budget.num_replicates),
        searches=max(current.budget.num_searches, from_file.budget.num_searches),
        lengths=new if longer else None,
        keep=keep if longer else None,
    )
    return larger.model_copy(
        update={
            "question": from_file.question,
            "data": from_file.data,
            "resources": from_file.resources,
            "checkpoints": from_file.checkpoints,
        }
    )


def _ladder(study: Study) -> tuple[float, ...]:
    """The ladder that most cells share: the study's own, or its first cell's."""
    return study.schedule.lengths or lengths_of(study, cells_of(study)[0])


def _enlarge(
    current: int | SequentialReplicates, requested: int | None
) -> int | SequentialReplicates:
    """A number of the budget at a larger value; the looks of a sequential one stay as they are."""
    if requested is None:
        return current
    if isinstance(current, int):
        return requested
    extended = requested if requested > current.to else None
    return current.model_copy(update={"extended_to": extended})


def _refuse_less(name: str, requested: int | None, current: int) -> None:
    if requested is not None and requested < current:
        must = f"must be at least the {current} that the study has already"
        raise SpecError(explain(f"resume --{name}", must, requested))


def _longer(study: Study, requested: tuple[float, ...]) -> tuple[float, ...]:
    """The old ladder with the requested lengths at its end."""
    if any(LENGTH_PATH in space_of(study, cell) for cell in cells_of(study)):
        must = "must stay as they are where schedule.length is searched"
        raise SpecError(explain("resume --lengths", must, list(requested)))
    if not all(math.isfinite(length) and length > 0 for length in requested):
        raise SpecError(explain("resume --lengths", "must be numbers above zero", list(requested)))
    old = _ladder(study)
    added = tuple(sorted(set(requested) - set(old)))
    if added and added[0] <= old[-1]:
        must = f"must be longer than the ladder's end, {old[-1]:g}x"
        raise SpecError(explain("resume --lengths", must, list(requested)))
    return old + added


def _pinned_keep(study: Study) -> tuple[int, ...]:
    """``keep`` of the old rounds, written down so that a larger budget does not change it.

    Cells with a shorter ladder use the beginning of it.
    """
    return max((keep_of(study, cell) for cell in cells_of(study)), key=len)


def _changed_keys(current: object, given: object, path: str = "") -> Iterator[str]:
    """``resources.cpus_per_worker is 4 (started with 1)`` for each key that differs."""
    if current == given:
        return
    if isinstance(current, dict) and isinstance(given, dict):
        for key in dict.fromkeys([*current, *given]):
            inside = f"{path}.{key}" if path else str(key)
            yield from _changed_keys(current.get(key, ABSENT), given.get(key, ABSENT), inside)
    else:
        yield f"{path} is {_shorten(given)} (started with {_shorten(current)})"


def _shorten(value: object) -> str:
    """A value in at most 60 characters, without the keys that are left out in it."""
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if inner not in (None, {})}
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
