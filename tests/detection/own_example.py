"""The detector of docs/networks.md as a module, and variants of it that break one rule each."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rethink_ray.spec.recipe import DetectorSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"
MODULE = "our_detectors"
EXAMPLE = f"{MODULE}:build"
VARIANTS = '''

from rethink_ray.detection.peers import Division


class Shared(Cells):
    """The losses with the count that divides them, so that parts of a batch add up."""

    shares_batches = True

    def losses(self, images, targets, *, seed, step):
        losses = super().losses(images, targets, seed=seed, step=step)
        count = torch.tensor(sum(len(target["labels"]) for target in targets))
        return losses, [Division(names=("classes", "boxes"), count=count, at_least=1)]


class Dropping(Cells):
    """With dropout, which draws from torch's generator."""

    def predict(self, images):
        logits, boxes = super().predict(images)
        return f.dropout(logits + 4, 0.5, self.training) - 4, boxes


class Nameless(Cells):
    """Without a part that it calls its backbone."""

    def __init__(self, spec, num_classes):
        super().__init__(spec, num_classes)
        self.layers, self.backbone = self.backbone, None

    def predict(self, images):
        squares = [f.interpolate(i[None], (self.side_px, self.side_px)) for i in images]
        features = self.layers(torch.cat(squares) - 0.5)
        return self.scores(features) - 4, self.boxes(features).sigmoid()


def build_nameless(spec, num_classes):
    return Nameless(spec, num_classes)


def build_shared(spec, num_classes):
    return Shared(spec, num_classes)


def build_dropping(spec, num_classes):
    return Dropping(spec, num_classes)
'''


def read_example() -> str:
    """The code of the page, as it stands there."""
    [code] = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "class Cells" in block
    ]
    return str(code)


@contextmanager
def importable(folder: Path, more: str = "") -> Iterator[None]:
    """Inside, the page's module and its variants can be imported."""
    (folder / f"{MODULE}.py").write_text(read_example() + VARIANTS + more)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    sys.modules.pop(MODULE, None)


def small(family: str = EXAMPLE, side_px: int = 64, **settings: object) -> DetectorSpec:
    sides = {"family": family, "min_side_px": side_px, "max_side_px": side_px}
    return DetectorSpec.model_validate({"score_threshold": 0.0, **sides, **settings})
