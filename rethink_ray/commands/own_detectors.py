"""``check-detector``: whether a detector of one's own keeps the contract of ``detector.family``."""

from typing import Annotated

import typer

CheckedFamily = Annotated[
    str, typer.Argument(help="package.module:build, or a family such as torchvision:ssd300_vgg16")
]


def register_detector_commands(app: typer.Typer) -> None:
    """The command line has this command."""
    app.command("check-detector")(check_detector)


def check_detector(
    family: CheckedFamily,
    side_px: Annotated[
        int | None, typer.Option(min=32, help="detector.min_side_px and max_side_px of the check")
    ] = None,
) -> None:
    """Check a detector of your own, rule by rule; exit code 1 if it breaks one.

    It is built with three classes and shown three pictures of noise. Nothing is written.
    """
    from rethink_ray.detection.own_checks import check_own_detector, describe_checked

    num_broken = 0
    for rule in check_own_detector(describe_checked(family, side_px)):
        print(f"pass  {rule.name}" if rule.holds else f"FAIL  {rule.name}: {rule.shortcoming}")
        num_broken += not rule.holds
    if num_broken:
        print(f"{family} breaks {num_broken} rules. See rethink_ray.detection.own_network.")
        raise typer.Exit(1)
    print(f"{family} keeps the contract.")
