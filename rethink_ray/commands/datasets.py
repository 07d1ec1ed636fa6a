"""``rethink-ray data``: draw the built-in data set, look at one of your own, build its index."""

import itertools
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethink_ray.commands.cuts import grouping_lines, suggest_cut
from rethink_ray.commands.data_seen import describe_data, describe_leaks
from rethink_ray.spec.fault_kinds import FAULT_KINDS

if TYPE_CHECKING:
    from rethink_ray.data.check import DataFinding
    from rethink_ray.data.leaks import Leak
    from rethink_ray.data.recognise import RecognisedData
    from rethink_ray.data.split_words import SplitSummary
    from rethink_ray.spec.regime import DataSpec, RegimeSpec

DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="a key of data, e.g. data.root=/data/coco; repeatable"
    ),
]
DataPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="a folder of labelled pictures, its data.yaml, a study file, or "
        "shapes | coco | lvis | voc | yolo",
    ),
]
NAMED_SETS = ("shapes", "coco", "lvis", "voc", "yolo")
MOST_CLASSES = 100
"""Classes that `data check` lists."""
ImageCount = Annotated[int, typer.Option(min=1, help="images of this split")]


def build_data_group() -> typer.Typer:
    """The ``data`` commands."""
    group = typer.Typer(help="Make, check and index data sets.", no_args_is_help=True)
    group.command("make-shapes")(draw_shapes)
    group.command("check")(check)
    group.command("index")(index)
    group.command("import")(import_labels)
    return group


def draw_shapes(
    out: Annotated[Path, typer.Argument(help="folder to write COCO files and images to")],
    train: ImageCount = 800,
    val: ImageCount = 200,
    test: ImageCount = 600,
    unlabelled: Annotated[int, typer.Option(min=0, help="images without labels")] = 0,
    image_px: Annotated[int, typer.Option(min=32, help="side of an image")] = 96,
    seed: Annotated[int, typer.Option(help="seed of the pictures")] = 0,
) -> None:
    """Draw the built-in shapes data set as COCO JSON and images."""
    from rethink_ray.data.shapes import make_shapes
    from rethink_ray.spec.errors import DataError, explain
    from rethink_ray.spec.regime import ShapesSpec

    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()  # drawing makes a folder whole or not at all
    if out.exists():
        remedy = "Name a folder that is empty or does not exist."
        raise DataError(explain(str(out), "must be free to draw into", "other files", remedy))
    spec = ShapesSpec(
        train=train, val=val, test=test, unlabelled=unlabelled, image_px=image_px, seed=seed
    )
    make_shapes(spec, out)
    print(f"{out}: {train} train, {val} val, {test} test, {unlabelled} unlabelled images")
    print("\nTo use it, put this into a study file (check it with: rethink-ray data check FILE):\n")
    print(data_block(out), end="")


def data_block(root: Path) -> str:
    """The ``data`` group of a study on a folder that ``make-shapes`` drew."""
    lines = ["data:", f"  root: {json.dumps(str(root.absolute()))}", "  dataset:"]
    lines += [
        f"    {split}: {{images: {split}, annotations: annotations/instances_{split}.json}}"
        for split in ("train", "val", "test")
    ]
    return "\n".join([*lines, "  select_on: val", "  report_on: test"]) + "\n"


def check(
    dataset: DataPath,
    settings: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    strict: Annotated[bool, typer.Option(help="exit code 1 if there is a fault")] = False,
) -> None:
    """Look at labelled pictures before GPUs are spent on them: format, splits, classes, faults.

    Training copes with each fault and counts it; a note is only worth knowing.
    """
    recognised = recognise_path(dataset)
    data, regimes, draws = load_data_and_regimes(dataset, settings or [], recognised)
    from rethink_ray.data.check import check_data, find_refusal  # after typos: takes a second

    findings = check_data(data, splits_in_use(data))
    alike = add_look_alikes(data, findings)
    refusal = find_refusal(data, regimes, draws)
    summaries = summarise_splits(data)
    if as_json:
        section = suggest_section(recognised) if recognised else None
        tree = describe_data(data, findings, summaries, recognised, section)
        leaks = {"same": describe_leaks(list_same(data)), "alike": describe_leaks(alike)}
        print(json.dumps({**tree, "leaks": leaks, "refused": refusal or None}, indent=1))
    else:
        for line in recognised_lines(dataset, recognised):
            print(line)
        for line in check_lines(findings, {s: one.sentence for s, one in summaries.items()}):
            print(line)
        for line in class_lines(data):
            print(line)
        for line in grouping_lines(data, recognised):
            print(line)
        if begins_at_minus_one(data, findings):
            print("boxes begin at -1: if these files count pixels from 0, set data.voc_offset: 0")
        for line in data_lines(recognised):
            print(line)
    if refusal:
        print(f"run, plan and doctor refuse this data set: {refusal}", file=sys.stderr)
    has_fault = any(finding.is_fault for of_split in findings.values() for finding in of_split)
    if strict and (has_fault or refusal):
        raise typer.Exit(1)


def recognised_lines(path: str, recognised: "RecognisedData | None") -> Iterator[str]:
    """The format of a folder, its splits, and what one may not expect; none for a study file."""
    if recognised is not None:
        yield f"{path}: {recognised.format}, with {', '.join(recognised.splits)}"
        for note in recognised.notes:
            yield f"  note  {note}"


def data_lines(recognised: "RecognisedData | None") -> Iterator[str]:
    """The ``data`` group of a study on a folder that was recognised."""
    import yaml

    if recognised is None:
        return
    yield "\nin a study file:\n"
    section = {"data": suggest_section(recognised)}
    yield yaml.safe_dump(section, sort_keys=False, allow_unicode=True).rstrip()


def suggest_section(recognised: "RecognisedData") -> dict[str, Any]:
    """The ``data`` section of a study on a folder: its files, and the splits that score."""
    scoring: dict[str, Any] = suggest_cut(recognised) or choose_scoring(recognised.splits)
    if len(recognised.splits) == 2:  # one split for both would flatter the values it selects
        scoring["select_on"] = {"holdout": "20%"}
    return recognised.data | scoring


def choose_scoring(splits: Sequence[str]) -> dict[str, str]:
    """The splits of a folder that select and report; train where there is no other."""
    scored = [split for split in splits if split != "train"] or ["train"]
    return {"select_on": scored[0], "report_on": scored[-1]}


def summarise_splits(data: "DataSpec") -> "dict[str, SplitSummary]":
    """Split -> what it holds; splits that cannot be opened are left out."""
    from rethink_ray.data.split_words import summarise_split
    from rethink_ray.data.splits import refresh_split
    from rethink_ray.spec.errors import DataError

    summaries = {}
    for split in splits_in_use(data):
        with suppress(DataError):
            summaries[split] = summarise_split(refresh_split(data, split))
    return summaries


def add_look_alikes(data: "DataSpec", findings: "dict[str, list[DataFinding]]") -> "list[Leak]":
    """``findings`` tell the pictures that look like one of another split, which are returned.

    None if the splits cannot be compared: ``findings`` say so already.
    """
    from rethink_ray.data.check import add_findings, describe_look_alikes
    from rethink_ray.data.look_alikes import find_look_alikes
    from rethink_ray.spec.errors import DataError

    try:
        alike = find_look_alikes(data)
    except DataError:
        return []
    add_findings(findings, describe_look_alikes(alike))
    return alike


def list_same(data: "DataSpec") -> "list[Leak]":
    """The pictures that two splits in use share; none if the splits cannot be compared."""
    from rethink_ray.data.leaks import find_leaks
    from rethink_ray.spec.errors import DataError

    try:
        return find_leaks(data)
    except DataError:
        return []


def check_lines(
    findings: Mapping[str, "Sequence[DataFinding]"], words: Mapping[str, str] | None = None
) -> Iterator[str]:
    """One line per split; per finding its kind, how often, examples, and what the kind means.

    ``words``: split -> what it holds.
    """
    for split, of_split in findings.items():
        held = (words or {}).get(split, "")
        parts = [*([held] if held else []), *([] if of_split else ["no faults, no notes"])]
        yield f"{split}: {'; '.join(parts)}".rstrip() if parts else f"{split}:"
        for finding in of_split:
            word = "fault" if finding.is_fault else "note"
            examples = ", ".join(finding.examples[:3])
            yield f"  {word:<5} {finding.kind:<24} {finding.count:>7}   {examples}"
            if kind := FAULT_KINDS.get(finding.kind):
                yield f"        {kind.unit_words}: {kind.reason}"


def class_lines(data: "DataSpec") -> Iterator[str]:
    """One line per class with its objects in each split; none if a split cannot be opened."""
    from rethink_ray.data.check import quote_name
    from rethink_ray.data.class_counts import count_classes
    from rethink_ray.spec.errors import DataError

    try:
        counts = count_classes(data)
    except DataError:
        return
    yield "classes, with their objects:"
    names = list(counts["train"])
    for name in names[:MOST_CLASSES]:
        numbers = ", ".join(f"{split} {of_split[name]}" for split, of_split in counts.items())
        yield f"  {quote_name(name)}: {numbers}"
    if len(names) > MOST_CLASSES:
        yield f"  and {len(names) - MOST_CLASSES} more"


def begins_at_minus_one(data: "DataSpec", findings: Mapping[str, "Sequence[DataFinding]"]) -> bool:
    """Whether an example of a VOC box outside its picture begins one pixel left of it or above."""
    named = data.dataset.values() if isinstance(data.dataset, dict) else ()
    is_json = any(split.annotations.endswith((".json", ".jsonl")) for split in named)
    if not data.may_be_voc or is_json or data.voc_offset == 0:
        return False
    examples = [
        example
        for finding in itertools.chain(*findings.values())
        if finding.kind == "box_outside"
        for example in finding.examples
    ]
    return any(re.search(r"\[(-1,|[^,]+, -1,)", example) for example in examples)


def index(
    dataset: DataPath,
    settings: DataOption = None,
) -> None:
    """Index every split before the first trial has to; read every picture again."""
    data, *_ = load_data_and_regimes(dataset, settings or [])
    from rethink_ray.data.splits import build_index

    for split in splits_in_use(data):
        opened = build_index(data, split)
        print(f"{split}: {len(opened)} images, {len(opened.categories)} categories")


def import_labels(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="labels and pictures")],
    format_name: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="kitti | cvat | labelbox | lightly")
    ],
    out: Annotated[Path, typer.Option(help="a new folder for COCO JSON and the pictures")],
    classes: Annotated[
        str, typer.Option(metavar="A,B", help="names of classes, in order; else as labelled")
    ] = "",
) -> None:
    """Convert a rarer format to COCO JSON, with the library labelformat (an extra)."""
    from rethink_ray.data.convert import convert_labels

    names = [name.strip() for name in classes.split(",") if name.strip()]
    converted = convert_labels(folder, format_name, out, names)
    print(f"{out}: {converted.num_images} images, {converted.num_objects} objects")
    if converted.num_ignored:
        print(f"left out: {converted.num_ignored} regions DontCare, which are no objects")
    if converted.num_missing:
        print(f"missing: {converted.num_missing} pictures that the labels name")
    print(f"next: rethink-ray data check {shlex.quote(str(out))}")


def load_data_and_regimes(
    name: str, settings: Sequence[str], recognised: "RecognisedData | None" = None
) -> "tuple[DataSpec, Mapping[str, RegimeSpec], Sequence[int]]":
    """The data block, the regimes and the draws of a study file, a folder of labelled pictures, or
    a data set named by kind and ``settings``.

    The only regime of a data set without a study is all of its images. ``recognised`` is the
    format of the folder, where it is known already.

    Raises:
        SpecError: a setting does not name a key of the data block in full, as ``data.root``.
    """
    from rethink_ray.spec.draws import list_planned_draws
    from rethink_ray.spec.load import find_study, load_study, put_override, validate
    from rethink_ray.spec.regime import DataSpec, RegimeSpec

    for setting in settings:
        _require_data_path(setting)
    recognised = recognised or recognise_path(name)
    if name in NAMED_SETS or recognised is not None:
        tree: dict[str, Any] = {"data": {"dataset": name}}
        if recognised is not None:
            tree = {"data": recognised.data | choose_scoring(recognised.splits)}
        for setting in settings:
            put_override(tree, setting)
        return validate(DataSpec, tree["data"], "data"), {"all": RegimeSpec(images="all")}, ()
    study, _ = load_study(find_study(name), settings)
    return study.data, study.regimes, list_planned_draws(study)


def recognise_path(name: str) -> "RecognisedData | None":
    """The format of a folder or of a ``data.yaml``; ``None`` for a study or a data set by kind.

    Raises:
        DataError: the folder has no format that is known, or two of them.
    """
    path = Path(name)
    is_yaml, is_study = path.suffix in (".yaml", ".yml"), (path / "resolved.json").is_file()
    is_missing = "/" in name and not path.exists() and not is_yaml
    if name in NAMED_SETS or is_study or not (path.is_dir() or is_yaml or is_missing):
        return None
    from rethink_ray.data.recognise import recognise_folder  # takes a third of a second
    from rethink_ray.data.sources.yolo_config import is_yolo_yaml
    from rethink_ray.spec.shipped import shipped_studies

    is_folder = (path.is_dir() or is_missing) and name not in shipped_studies()
    return recognise_folder(path) if is_folder or is_yolo_yaml(path) else None


def _require_data_path(setting: str) -> None:
    """``--set`` names a key by its path in a study file, here as in every other command."""
    from rethink_ray.spec.errors import SpecError, explain

    path, equals, _ = setting.partition("=")
    if equals and path and not path.startswith("data."):
        remedy = f"Write --set data.{setting}, as in every other command."
        raise SpecError(explain("--set", "must name a key of the data block", path, remedy))


def splits_in_use(data: "DataSpec") -> list[str]:
    """Train, and the splits that a study selects and reports on; a hold-out is part of train."""
    from rethink_ray.spec.regime import HOLDOUTS

    used = dict.fromkeys(("train", data.select_split, data.report_split))
    return [split for split in used if split not in HOLDOUTS]
