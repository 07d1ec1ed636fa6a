"""The sentences of ``new``: what it saw, what it proposes, and what the study will tell."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rethink_ray.data.leaks import Leak
from rethink_ray.data.sources.values import show_path
from rethink_ray.drafting.contenders import Contenders
from rethink_ray.drafting.fitting import FittedDesign
from rethink_ray.drafting.folder import SeenFolder
from rethink_ray.drafting.machine import Machine
from rethink_ray.drafting.weights import AvailableWeights
from rethink_ray.judge.wording import metric_name
from rethink_ray.search.design import REGIME_NAMES, Design, DesignRequest, list_left_out
from rethink_ray.search.noise_prior import NOISE_SOURCE
from rethink_ray.search.paces import MeasuredPaces, pace_of
from rethink_ray.spec.facts import DataFacts, say_cut
from rethink_ray.spec.met_faults import say_met_faults
from rethink_ray.spec.number_text import say_number
from rethink_ray.training.amx import AMX_SPEEDS

Sentences = Sequence[tuple[str, str]]
"""A label, and what it says."""
MOST_CLASSES_NAMED = 12
BUSY = 1.3
"""Seconds that pass for a second of work, from which on the machine counts as busy."""
ARM_WORDS = {
    "scratch": "from random weights",
    "finetuned": "a pre-trained classifier whose backbone learns at a rate of its own",
    "frozen": "the same classifier with a frozen backbone",
    "detector": "a whole pre-trained detector whose backbone learns at a rate of its own",
    "detector_frozen": "the same detector with a frozen backbone",
    "glyphs": "a classifier of drawn glyphs, which the study trains itself",
}


def describe_pictures(seen: SeenFolder, facts: DataFacts) -> Sentences:
    """The folder's pictures and objects, the faults of its data, and the splits that are cut."""
    overview = seen.overview
    shorter, longer = overview.picture_px
    counts = ", ".join(f"{split} {num:,}" for split, num in overview.num_images.items())
    total = sum(overview.num_images.values())
    sentences = [
        ("Pictures", f"{total:,} as {seen.format}, about {longer} x {shorter} px: {counts}"),
        ("Objects", _describe_objects(seen)),
    ]
    if faults := say_met_faults(keep_largest_regime(facts)):
        sentences.append(("Faults", faults))
    sentences += [("Note", note) for note in seen.notes]
    sentences += [("Alike", _describe_alike(leak, seen)) for leak in seen.alike]
    if facts.cut is not None:
        absent = " and no ".join(seen.cut)
        sentences.append(("Splits", f"there is no {absent}; {'; '.join(say_cut(facts.cut))}"))
    return sentences


def keep_largest_regime(facts: DataFacts) -> DataFacts:
    """The facts without smaller regimes, which the study may leave out for lack of time."""
    largest = max(facts.regime_sizes, key=lambda regime: facts.regime_sizes[regime])
    return replace(
        facts,
        regime_sizes={largest: facts.regime_sizes[largest]},
        regime_faults={largest: facts.regime_faults.get(largest, {})},
    )


def _describe_objects(seen: SeenFolder) -> str:
    overview = seen.overview
    named = [f"{_quote_number(name)} {num:,}" for name, num in overview.classes.items()]
    left = len(named) - MOST_CLASSES_NAMED
    listed = ", ".join(named[:MOST_CLASSES_NAMED]) + (f" and {left} more" if left > 0 else "")
    kind = "with masks" if seen.has_masks else "with boxes"
    kind = f"with {seen.num_keypoints} keypoints" if seen.num_keypoints else kind
    classes = "1 class" if len(named) == 1 else f"{len(named)} classes"
    smallest, middle, largest = (_percent(overview.box_share(q)) for q in (0.05, 0.5, 0.95))
    return (
        f"{overview.num_objects:,} {kind} in {classes}: {listed}. "
        f"Most have a side of {smallest} to {largest} % of the picture's shorter side "
        f"(median {middle} %)"
    )


def _quote_number(name: str) -> str:
    """A class's name, in quotes if it would read as a number."""
    return name if any(map(str.isalpha, name)) else f"'{name}'"


def _percent(share: float) -> str:
    """``4`` for 0.042, and ``0.4`` for 0.0042."""
    return say_number(100 * share, 1)


def _describe_alike(leak: Leak, seen: SeenFolder) -> str:
    """``1 picture of train looks like one of test (train/a.png like test/b.png): ...``."""
    num, (path, twin) = len(leak.pairs), leak.pairs[0]
    names = [show_path("/".join(Path(one).parts[-2:])) for one in (path, twin)]
    pictures = f"1 picture of {leak.split} looks"
    if num > 1:
        pictures = f"{num:,} pictures of {leak.split} look"
    return (
        f"{pictures} like one of {leak.other} ({'such as ' * (num > 1)}{names[0]} like {names[1]}):"
        " scores may be too high. Take one of each two away; `rethink-ray data check --json "
        f"{shlex.quote(str(seen.folder))}` lists all"
    )


def describe_starts(contenders: Contenders, weights: AvailableWeights) -> Sentences:
    """The weights that are here, and those that are not."""
    names = [one.name for one in (weights.classifier, weights.detector) if one is not None]
    sentences = [("Weights", ", ".join(names) or "none on this machine")]
    for arms, why in _group_absent(contenders):
        sentences.append(("No arm", f"{arms}: {why}"))
    missing = (*weights.missing_classifiers[:1], *weights.missing_detectors)
    sentences += [("Download", f"{one.name} would add arms: {one.command}") for one in missing]
    if weights.classifier is None:
        sentences.append(("Download", "any other classifier's file does, too: --weights FILE"))
    return sentences


def _group_absent(contenders: Contenders) -> Sentences:
    by_reason: dict[str, list[str]] = {}
    for arm, why in contenders.absent.items():
        by_reason.setdefault(why, []).append(arm)
    return [(" and ".join(arms), why) for why, arms in by_reason.items()]


def describe_waiting(waiting: float) -> Sentences:
    """That other programs slowed the timing down; nothing if they did not.

    ``waiting``: seconds that passed for each second of work.
    """
    if waiting < BUSY:
        return ()
    times = f"{waiting:.1f}"
    return [
        (
            "Busy",
            f"other programs slowed this machine down {times} times while it was timed, and the "
            "study is planned for that pace. If they end, delete the file and run `new` again: the "
            "same hours will tell more",
        )
    ]


def pose_question(seen: SeenFolder, design: Design) -> str:
    """The question of the study, as a sentence."""
    first, *middle, last = design.arms
    arms = f"{', '.join([first, *middle])} or {last}"
    less = " and on a ".join(REGIME_NAMES[share] for share in design.shares[1:])
    also = f", and does that hold on a {less} of them" if less else ""
    num = _num_used(seen, design)
    return f"Which start pays on {num:,} pictures of {seen.name}: {arms}{also}?"


def _num_used(seen: SeenFolder, design: Design) -> int:
    return round(seen.num_train * design.shares[0])


def describe_design(
    seen: SeenFolder,
    fitted: FittedDesign,
    request: DesignRequest,
    measured_on: tuple[MeasuredPaces, Machine],
) -> Sentences:
    """The arms and hours of the study, the differences that it will tell, and its omissions.

    ``measured_on``: the paces, and the machine that they are for.
    """
    design, (measured, machine) = fitted.design, measured_on
    left_out = "; ".join(list_left_out(request, design))
    return [
        ("Arms", "; ".join(f"{name}: {ARM_WORDS[name]}" for name in design.arms)),
        ("Machine", _describe_machine(design, measured, machine, request.batch_size)),
        ("Hours", _describe_hours(fitted, request)),
        ("Tells", _describe_power(fitted, request)),
        ("Left out", f"for lack of time: {left_out}" if left_out else "nothing for lack of time"),
        ("Lengths", _describe_lengths(seen, design, request.batch_size)),
    ]


def _describe_machine(
    design: Design, measured: MeasuredPaces, machine: Machine, batch_size: int
) -> str:
    by_pace: dict[str, list[str]] = {}
    for arm in design.arms:
        pace = pace_of(measured.arms, "", arm)
        assert pace is not None, "every arm has a pace"
        by_pace.setdefault(f"{say_number(pace.seconds_per_update, 2)} s", []).append(arm)
    paces = ", ".join(f"{seconds} ({', '.join(arms)})" for seconds, arms in by_pace.items())
    jobs = "one trial" if machine.slots == 1 else f"{machine.slots} trials"
    return f"{machine.in_words}, {jobs} at a time; an update of {batch_size} pictures takes {paces}"


def _describe_hours(fitted: FittedDesign, request: DesignRequest) -> str:
    hours = fitted.hours
    unit, factor = ("h", 1.0) if request.hours >= 2.0 else ("min", 60.0)
    parts = (hours.expected, hours.low, hours.high, request.hours)
    numbers = [say_number(x * factor, 2) for x in parts]
    looks = ", and on how soon its comparisons are decided" if fitted.design.stops_early else ""
    return (
        "about {} ({} to {}) of the {} {unit} given: it depends on how many configurations turn "
        "out best{looks}"
    ).format(*numbers, unit=unit, looks=looks)


def _describe_power(fitted: FittedDesign, request: DesignRequest) -> str:
    design, (low, high) = fitted.design, fitted.detectable
    searched = design.searches > 1
    unit = "searches" if searched else "replicates"
    noise = request.noise.between_searches() if searched else request.noise
    between = "two arms" if searched else "what one search finds for two arms"
    name = metric_name(fitted.study)
    num = f"{design.num_values} {unit} an arm"
    if design.stops_early:
        num = f"at most {num} (3 and more: an arm whose comparisons are decided stops)"
    return (
        f"a difference of {low:.1f} to {high:.1f} {name} between {between}, four times in "
        f"five (80 % power), from {num}. The range is that of the "
        f"noise: {noise.low:.2g} to {noise.high:.2g} {name} between {unit} are expected on "
        f"{request.num_images:,} pictures ({NOISE_SOURCE}); later `plan --noise measured` takes "
        "what the study itself has shown"
    )


def _describe_lengths(seen: SeenFolder, design: Design, batch_size: int) -> str:
    """The ladder in updates and passes, regime by regime."""
    parts = []
    for share in design.shares:
        updates = [round(design.unit_of(share) * length) for length in design.lengths]
        num = round(seen.num_train * share)
        passes = ", ".join(f"{steps * batch_size / num:.0f}" for steps in updates)
        shown = ", ".join(map(str, updates))
        parts.append(f"{REGIME_NAMES[share]}: {shown} updates = {passes} passes over {num:,}")
    lengths = ", ".join(f"{length:g}x" for length in design.lengths)
    return f"{lengths} are {'; '.join(parts)} pictures"


def describe_sides(contenders: Contenders) -> tuple[str, str]:
    """The size of the pictures, and its rule."""
    sides = contenders.sides
    return (
        "Sides",
        f"pictures are resized to {sides.min_side_px} px (at most {sides.max_side_px}), where four "
        f"objects in five have a side of {sides.small_box_px} px or more; the aim is 16 px, the "
        "smallest anchor (Lin et al. 2017 have 32 px at 800 px)",
    )


def comment_keys() -> Mapping[str, str]:
    """Dotted path of a key -> the comment behind it in the file."""
    return {
        "data.select_on": "the search looks here",
        "data.report_on": "the answer rests on this: no training and no search sees it",
        "data.split": "cut from the folder; pictures that look alike stay on one side",
        "data.duplicates": "a picture in two splits leaves train",
        "regimes": "how much data",
        "recipe": "a complete method",
        "settings": "what differs from it",
        "settings.precision": f"this CPU has AMX: {AMX_SPEEDS}; fp32 rounds nothing",
        "arms": "the contenders; each is tuned by itself",
        "search": "what is tuned",
    }


def name_next(path: Path) -> Sentences:
    """The three commands that come next."""
    file = shlex.quote(str(path))
    return [
        ("Next", f"rethink-ray plan {file}"),
        ("", f"rethink-ray run {file}"),
        ("", f"rethink-ray answer studies/{path.stem}"),
    ]
