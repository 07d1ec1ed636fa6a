"""How this program trains the classifiers that detectors start from."""

from typing import Annotated, Literal

from pydantic import Field

from rethink_ray.spec.model import PositiveFloat, PositiveInt, Spec
from rethink_ray.spec.rules.rule import Rule

Share = Annotated[float, Field(gt=0, le=1)]


class UpstreamSpec(Spec):
    """How this program trains the classifier that ``init.source: upstream`` starts from.

    The defaults suit the built-in figures. The recipe of torchvision's reference for ImageNet, with
    a cosine in place of its three steps, is ``optimizer: sgd, lr: 0.1, batch_size: 256,
    weight_decay: 0.0001`` and 450,000 updates (90 epochs). Source: torchvision,
    references/classification/train.py. Deviations: crops are cut from the middle square of each
    picture, which is stored at ``image_px``; one twentieth of the updates is warm-up; norms have no
    weight decay.
    """

    classes: PositiveInt = 20
    """Number of classes. For a folder of images it must equal the number of its sub-folders."""
    images: PositiveInt = 6000
    """Number of images; of a folder at most so many. A tenth of them, at most 10,000, is held out
    and measures accuracy."""
    image_px: PositiveInt = 64
    """Side of the square images, in pixels."""
    crop: tuple[Share, Share] | None = None
    """Range of the area of random crops, as a share of the image; a crop is 3/4 to 4/3 as wide as
    high, and is resized to the whole. [1, 1] crops nothing. Null is [0.08, 1] for a folder, and for
    built-in figures, which a crop would cut off, a shift by up to a sixteenth of the side. Source:
    torchvision, references/classification/presets.py (``RandomResizedCrop``)."""
    labels: Literal["true", "shuffled"] = "true"
    """``shuffled`` permutes the labels among the images: a control that keeps the pictures and
    takes their meaning."""
    figures: Literal["glyphs", "shapes"] = "glyphs"
    """Figures on the built-in images: ``glyphs`` do not occur in the ``shapes`` scenes, ``shapes``
    are the scenes' own six, one on each image (the control *same classes*; write ``classes:
    6``)."""
    steps: PositiveInt = 1800
    """Updates in which the classifier is trained."""
    batch_size: PositiveInt = 32
    """Images in each of these updates."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW with a beta1 of 0.9, or stochastic gradient descent with a momentum of 0.9. Source:
    torchvision, references/classification/train.py (``sgd``)."""
    lr: PositiveFloat = 0.003
    """The peak learning rate; it falls along a half cosine to zero. Source: torchvision,
    references/classification/train.py (0.1 for ``sgd`` and 256 images)."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay of everything but norms. Source: torchvision,
    references/classification/train.py (1e-4 for ``sgd``)."""
    seed: int = 0
    """Seed of the built-in images, of the first weights and of the order of images."""

    rules = (
        Rule(
            key="images",
            broken=lambda upstream: upstream.images < 2,
            must="must be at least 2: one to learn from and one to measure on",
        ),
        Rule(
            key="crop",
            broken=lambda upstream: sorted(upstream.crop or ()) != [*(upstream.crop or ())],
            must="must be [low, high] with low <= high",
        ),
    )


class UpstreamDetectorSpec(Spec):
    """How this program trains the detector that ``init.weights: upstream_detector`` names.

    It is the recipe's own detector, from random weights, on ``data.upstream_detection``, with plain
    flips. The rate falls to a tenth after two thirds of the updates and again after eight ninths.
    Source: Detectron's 1x (90,000 updates, lower from 60,000 and 80,000 on).
    """

    steps: PositiveInt = 90_000
    """Updates in which the detector is trained. Source: Detectron (1x)."""
    batch_size: PositiveInt = 16
    """Images in each of these updates, over all workers. Source: Detectron."""
    optimizer: Literal["adamw", "sgd"] = "sgd"
    """Stochastic gradient descent with a momentum of 0.9, or AdamW with a beta1 of 0.9. Source:
    Detectron (``sgd``)."""
    lr: PositiveFloat = 0.02
    """The peak learning rate, for the whole batch. Source: Goyal et al. 2017 (0.02 for 16
    images)."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay of everything but norms. Source: Detectron."""
    warmup: Annotated[int, Field(ge=0)] = 500
    """Updates in which the rate rises linearly to its peak. Source: Detectron."""
    clip_norm: PositiveFloat | None = None
    """Upper limit for the norm of the whole gradient. Null clips nothing."""
    min_side_px: PositiveInt | None = None
    """The shorter side of its images, in pixels. Null is the recipe's
    ``detector.min_side_px``."""
    max_side_px: PositiveInt | None = None
    """Upper limit of the longer side of its images, in pixels. Null is the recipe's
    ``detector.max_side_px``."""
    labels: Literal["true", "shuffled"] = "true"
    """``shuffled`` permutes the classes among all boxes of its training images: a control that
    keeps pictures and boxes and takes the meaning of the classes. Its AP is measured against true
    classes."""
    seed: int = 0
    """Seed of its first weights and of the order of images."""

    rules = (
        Rule(
            key="warmup",
            reads=("steps",),
            broken=lambda upstream: upstream.warmup >= upstream.steps * 2 / 3,
            must="must end before the rate falls, at two thirds of the {steps} updates",
            remedy="Write a smaller number.",
        ),
    )
