"""Writes a study as a commented YAML file, as a person would."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from rethink_ray.drafting.contenders import Contenders
from rethink_ray.drafting.machine import Machine
from rethink_ray.search.design import REGIME_NAMES, Design
from rethink_ray.search.design_costs import DESIGN_DECAY
from rethink_ray.spec.sequential import FEWEST

HEADER_WIDTH = 116
HEADER_LABEL_WIDTH = 12
COMMENT_COLUMN = 38
MOST_WARMUP, MOST_SMALL_WARMUP = 500, 100
"""Updates in which the rate rises, at most: on GPUs, and on CPUs."""
BLOCK_KEYS = ("data", "regimes", "settings", "arms", "search")
"""Groups with one line for each of their keys."""
Comments = Mapping[str, str]
"""Dotted path of a line -> what stands behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyParts:
    """Everything that a study file is made of."""

    name: str
    question: str
    data: Mapping[str, Any]
    contenders: Contenders
    design: Design
    machine: Machine


def build_tree(parts: StudyParts) -> dict[str, Any]:
    """The study as a tree of keys and values, in the order of its file."""
    design, contenders = parts.design, parts.contenders
    most = MOST_SMALL_WARMUP if contenders.is_small else MOST_WARMUP
    smallest = min(design.unit_of(share) for share in design.shares)
    return {
        "study": parts.name,
        "question": parts.question,
        "data": dict(parts.data),
        "regimes": {REGIME_NAMES[share]: _regime(design, share) for share in design.shares},
        "recipe": contenders.recipe,
        "settings": dict(contenders.settings),
        "arms": {name: dict(contenders.arms[name]) for name in design.arms},
        "search": dict(contenders.search),
        "schedule": {
            "unit": design.unit_of(design.shares[0]),
            "lengths": [int(length) for length in design.lengths],
            "warmup": min(smallest, most),
            "decay": {
                "kind": DESIGN_DECAY.kind,
                "before_end": [*DESIGN_DECAY.points(1.0)],
                "factor": DESIGN_DECAY.factor,
            },
        },
        "objective": {"metric": contenders.metric},
        "budget": {"trials": design.trials, "keep": [*design.keep], **_repeats(design)},
        "resources": _resources(parts.machine),
        "seed": 0,
    }


def _repeats(design: Design) -> dict[str, Any]:
    """``replicates: {from: 3, to: 8, until: decided}``, or plain numbers where they are few."""
    repeats: dict[str, Any] = {"searches": design.searches, "replicates": design.replicates}
    if design.stops_early:
        axis = "searches" if design.searches > 1 else "replicates"
        repeats[axis] = {"from": FEWEST, "to": design.num_values, "until": "decided"}
    return repeats


def _regime(design: Design, share: float) -> dict[str, Any]:
    images: str = "all" if share == 1.0 else f"{100 * share:g}%"
    if share == design.shares[0]:
        return {"images": images}
    return {"images": images, "set": {"schedule.unit": design.unit_of(share)}}


def _resources(machine: Machine) -> dict[str, Any]:
    if machine.gpus:
        return {"gpus_per_worker": 1, "loader_workers": 4}
    return {"workers": 0, "cpus_per_worker": 1}


def write_text(
    tree: Mapping[str, Any], header: Sequence[tuple[str, str]], comments: Comments
) -> str:
    """The file: a header of labelled sentences, then the keys, each with its comment."""
    lines = [
        "# Written by `rethink-ray new`; change what you like, and ask `rethink-ray plan`.",
        "#",
    ]
    for label, sentence in header:
        lines += _wrap(label, sentence)
    for key, value in tree.items():
        lines += _lines_of(key, value, comments)
    return "\n".join(lines) + "\n"


def _wrap(label: str, sentence: str) -> list[str]:
    """One labelled sentence of the header, wrapped under itself.

    A class may have any name. A character that is not printed could end the comment.
    """
    head = f"{label}:" if label else ""
    first = f"# {head:<{HEADER_LABEL_WIDTH}}"
    rest = f"# {'':<{HEADER_LABEL_WIDTH}}"
    printed = "".join(letter if letter.isprintable() else " " for letter in sentence)
    return textwrap.wrap(
        printed,
        HEADER_WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines_of(key: str, value: Any, comments: Comments) -> Iterator[str]:
    if key not in BLOCK_KEYS:
        yield _with_comment(f"{key}: {_flow(value)}", comments.get(key))
        return
    yield _with_comment(f"{key}:", comments.get(key))
    if key == "arms":
        yield from _arm_lines(value)
        return
    for inner, part in value.items():
        yield from _inner_lines(key, inner, part, comments)


def _inner_lines(key: str, inner: str, part: Any, comments: Comments) -> Iterator[str]:
    """One key of a block; a data set of named files has a line for each split."""
    comment = comments.get(f"{key}.{inner}")
    if key == "data" and inner == "dataset" and isinstance(part, Mapping):
        yield _with_comment(f"  {inner}:", comment)
        for split, files in part.items():
            yield f"    {split}: {_flow(files)}"
        return
    yield _with_comment(f"  {inner}: {_flow(part)}", comment)


def _arm_lines(arms: Mapping[str, Any]) -> Iterator[str]:
    """Each arm, with its weights and its ranges on lines of their own.

    Weights that an earlier arm has are named by its anchor, as a person would write them.
    """
    anchors: dict[str, str] = {}
    for name, arm in arms.items():
        if not arm:
            yield f"  {name}: {{}}"
            continue
        yield f"  {name}:"
        for group, values in arm.items():
            shown = _flow(values)
            if isinstance(init := values.get("init"), Mapping):
                text = _flow(init)
                is_new = text not in anchors
                anchors.setdefault(text, name)
                spelled = f"&{name} {text}" if is_new else f"*{anchors[text]}"
                shown = shown.replace(f"init: {text}", f"init: {spelled}", 1)
            yield f"    {group}: {shown}"


def _with_comment(line: str, comment: str | None) -> str:
    """The line and its comment, which stands above a long line."""
    if comment is None:
        return line
    if len(line) < COMMENT_COLUMN:
        return f"{line:<{COMMENT_COLUMN}} # {comment}"
    indent = " " * (len(line) - len(line.lstrip()))
    return f"{indent}# {comment}\n{line}"


def _flow(value: Any) -> str:
    """A value on one line, as YAML."""
    plain = _as_plain(value)
    text: str = yaml.safe_dump(
        plain, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _as_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_plain(part) for part in value]
    return value
