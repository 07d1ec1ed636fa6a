"""What a start is worth in labelled images, as sentences."""

import math

from rethink_ray.judge.label_worth import ImageGain, ImagesNeeded, LabelWorth
from rethink_ray.judge.wording import counted, signed, span


def describe_label_worth(worth: LabelWorth, metric: str) -> str:
    """One sentence: ``On small (60 images), pretrained is worth as much as about 160 [40, 340]
    more labelled images: scratch needs about 220 for the same AP.``

    Args:
        worth: of one arm in one regime.
        metric: the name of the metric.
    """
    where = f"On {worth.regime} ({counted(worth.images, 'image')}), "
    arm, reference = worth.arm, worth.reference
    match worth.kind:
        case "not tested":
            return f"{where}what {arm} is worth in labelled images is not tested: {worth.untested}."
        case "none":
            return (
                f"{where}no number of images fits: {reference} is shown above {arm}'s {metric} "
                "with few images and below it with more, so more images do not help it here."
            )
        case "open":
            return (
                f"{where}what {arm} is worth in labelled images is open: no regime of {reference} "
                f"is shown to be below its {metric}, and none above."
            )
        case "at least":
            return where + _say_at_least(worth, metric)
        case "at most":
            return where + _say_at_most(worth, metric)
    return where + _say_interval(worth, metric)


def _say_at_least(worth: LabelWorth, metric: str) -> str:
    arm, reference, low = worth.arm, worth.reference, worth.more_images.low or 0.0
    if worth.images + low >= worth.most_images:
        amount = (
            f"more than {low:.0f} more labelled images" if low > 0.0 else "more labelled images"
        )
        return (
            f"{arm} is worth {amount}: {reference} stays below its {metric} with all "
            f"{worth.most_images} that it trained on, and how many it would need is not known."
        )
    if low < 0.0:
        return (
            f"whether {arm} is worth any labelled images is open: {reference} is below its "
            f"{metric} with {-low:.0f} images fewer, and not shown to be above it with any number "
            "of images."
        )
    amount = f"more than {low:.0f} more" if low > 0.0 else "more"
    return (
        f"{arm} is worth {amount} labelled images; how many is open: {reference} is not shown to "
        f"be above its {metric} with any number of images."
    )


def _say_at_most(worth: LabelWorth, metric: str) -> str:
    arm, reference, high = worth.arm, worth.reference, worth.more_images.high or 0.0
    if high > 0.0:
        return (
            f"{arm} is worth at most {high:.0f} more labelled images, and perhaps none: with "
            f"{worth.images + high:.0f} {reference} is shown above its {metric}."
        )
    with_what = "the same images" if high == 0.0 else f"{-high:.0f} images fewer"
    return (
        f"{arm} is worth no labelled images: {reference} is shown above its {metric} with "
        f"{with_what}."
    )


def _say_interval(worth: LabelWorth, metric: str) -> str:
    arm, reference, ends = worth.arm, worth.reference, worth.more_images
    low, high = ends.low or 0.0, ends.high or 0.0
    if high <= 0.0:
        return (
            f"{arm} costs labels: {reference} needs {_amount(_turn(ends))} fewer labelled images "
            f"for the same {metric}."
        )
    if low < 0.0:
        return (
            f"{arm} is worth between {-low:.0f} fewer and {high:.0f} more labelled images; whether "
            "it is worth any is open."
        )
    needs = ""
    if ends.estimate is not None:
        needed = round_images(worth.images + ends.estimate)
        needs = f": {reference} needs about {needed} for the same {metric}"
    return f"{arm} is worth as much as {_amount(ends)} more labelled images{needs}."


def _turn(ends: ImagesNeeded) -> ImagesNeeded:
    """The range of how many fewer images."""
    estimate, low, high = (None if x is None else -x for x in (ends.estimate, ends.high, ends.low))
    return ImagesNeeded(estimate=estimate, low=low, high=high)


def _amount(ends: ImagesNeeded) -> str:
    """``about 160 [40, 340]``, or ``40 to 340`` without an estimate."""
    low, high = (f"{x or 0.0:.0f}" for x in (ends.low, ends.high))
    if ends.estimate is None:
        return f"{low} to {high}"
    return f"about {round_images(ends.estimate)} [{low}, {high}]"


def round_images(images: float) -> str:
    """A number of images with two digits: ``160`` of 163.2."""
    if abs(images) < 1.0:
        return "0"
    digits = 1 - math.floor(math.log10(abs(images)))
    return f"{round(images, min(digits, 0)):.0f}"


def range_text(ends: ImagesNeeded | None) -> str:
    """A range in a table: ``160 [40, 340]``, ``> 340``, ``<= 40``, ``open`` or ``none fits``."""
    if ends is None:
        return "-"
    match ends.kind:
        case "open":
            return "open"
        case "none":
            return "none fits"
        case "at least":
            return f"> {ends.low:.0f}"
        case "at most":
            return f"<= {ends.high:.0f}"
    low, high = (x or 0.0 for x in (ends.low, ends.high))
    estimate = "" if ends.estimate is None else f"{round_images(ends.estimate)} "
    return f"{estimate}[{low:.0f}, {high:.0f}]"


def describe_gain(gain: ImageGain, metric: str) -> str:
    """One sentence: ``On small (60 images), 140 more images bring pretrained about +3.0 AP [+1.2,
    +4.8].``"""
    size = f"{signed(gain.effect.value)} {metric} {span(gain.effect.interval())}".rstrip()
    bring = "brings" if gain.more_images == 1 else "bring"
    return (
        f"On {gain.regime} ({counted(gain.images, 'image')}), "
        f"{counted(gain.more_images, 'more image')} {bring} {gain.arm} about {size}."
    )


def gain_text(gain: ImageGain | None, metric: str) -> str:
    """A gain in a table: ``140: +3.0 AP [+1.2, +4.8]``; ``-`` without a larger regime."""
    if gain is None:
        return "-"
    size = f"{signed(gain.effect.value)} {metric} {span(gain.effect.interval())}".rstrip()
    return f"{gain.more_images}: {size}"
