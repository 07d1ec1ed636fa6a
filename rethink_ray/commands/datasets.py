"""``rethink-ray data``: draw the built-in data set, validate one of your own, build its index."""

import json
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="path=value, e.g. data.root=/data/coco"),
]
Count = Annotated[int, typer.Option(min=1, help="images of this split")]


def build() -> typer.Typer:
    """The ``data`` group."""
    group = typer.Typer(help="Make, check and index data sets.", no_args_is_help=True)
    group.command("make-shapes")(make_shapes)
    group.command("check")(check)
    group.command("index")(index)
    return group


def make_shapes(
    out: Annotated[Path, typer.Argument(help="folder to write COCO files and images to")],
    train: Count = 800,
    val: Count = 200,
    test: Count = 600,
    unlabelled: Annotated[int, typer.Option(min=0, help="images without labels")] = 0,
    image_px: Annotated[int, typer.Option(min=32, help="side of an image")] = 96,
    seed: int = 0,
) -> None:
    """Draw the built-in shapes data set as COCO JSON and images."""
    from rethink_ray.data.shapes import make_shapes as draw
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
    draw(spec, out)
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
    dataset: Annotated[str, typer.Argument(help="a study file, or shapes | coco | lvis | voc")],
    settings: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    strict: Annotated[bool, typer.Option(help="exit code 1 if a fault was found")] = False,
) -> None:
    """Validate a COCO or VOC data set before GPUs are spent on it."""
    from rethink_ray.commands.inputs import data_spec_of, splits_of

    data = data_spec_of(dataset, settings or [])
    from rethink_ray.data.check import check_data  # seconds: a typo is told before

    found = check_data(data, splits_of(data))
    if as_json:
        rows = {
            split: [
                {"kind": f.kind, "count": f.count, "examples": list(f.examples)} for f in faults
            ]
            for split, faults in found.items()
        }
        print(json.dumps(rows, indent=1))
    else:
        for split, faults in found.items():
            print(f"{split}: " + ("nothing found" if not faults else ""))
            for fault in faults:
                shown = ", ".join(fault.examples[:3])
                print(f"  {fault.kind:<24} {fault.count:>7}   {shown}")
    if strict and any(fault.is_fault for faults in found.values() for fault in faults):
        raise typer.Exit(1)


def index(
    dataset: Annotated[str, typer.Argument(help="a study file, or shapes | coco | lvis | voc")],
    settings: DataOption = None,
) -> None:
    """Build the memory-mapped index of every split, so that the first trial need not."""
    from rethink_ray.commands.inputs import data_spec_of, splits_of

    data = data_spec_of(dataset, settings or [])
    from rethink_ray.data.index import refresh_split

    for split in splits_of(data):
        opened = refresh_split(data, split)
        print(f"{split}: {len(opened)} images, {len(opened.categories)} categories")
