"""The page on Python: it shows every public name, and its examples give what they print."""

import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import griffe
import pytest

import rethink_ray.api
from rethink_ray.data.facts import gather_facts
from rethink_ray.detection.detectors import build_detector
from rethink_ray.session import start_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import load_study
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.shared_model import describe_model, write_model_card, write_shared
from rethink_ray.training.worker_context import WorkerContext
from tests.analysis.planted import Planted, written
from tests.builders import micro_trial

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
SHOWN = re.compile(r"^::: rethink_ray\.(?:api\.)?(\w+)$", re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
STUDY = """
study: my
question: Does pre-training pay?
data: {dataset: shapes, shapes: {train: 12, val: 4, test: 4, image_px: 64}}
regimes: {full: {images: all}}
recipe: tiny_retinanet
arms:
  scratch: {}
  pretrained: {set: {init.source: upstream}}
search: {optimizer.lr: {log_uniform: [0.005, 0.08]}}
schedule: {unit: 60, lengths: [2, 4, 6]}
budget: {trials: 2, keep: [2, 2, 2], replicates: 3}
"""
SCORES = {
    ("scratch", 2.0): (9.8, 10.0, 10.2),
    ("scratch", 4.0): (11.8, 12.0, 12.2),
    ("scratch", 6.0): (12.8, 13.0, 13.2),
    ("pretrained", 2.0): (14.8, 15.0, 15.2),
    ("pretrained", 4.0): (15.8, 16.0, 16.2),
    ("pretrained", 6.0): (15.8, 16.0, 16.2),
}
"""AP of three replicates: at 6x pre-training is 3 points ahead."""


class PlantedOnShapes(Planted):
    """Planted scores on images that exist, so that ``run`` finds the study it would have run."""

    @property
    def facts(self) -> DataFacts:
        return gather_facts(self.study.data, self.study.regimes)


@pytest.fixture
def finished_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``my.yaml`` and its finished study in the current folder."""
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(STUDY)
    study, text = load_study(Path("my.yaml"))
    planted = PlantedOnShapes(study, written(SCORES))
    directory = start_study(Path("studies/my"), study, text, planted.facts, {})
    for event in planted.events():
        directory.log.append(event)
    write_model(planted.facts)
    return tmp_path / "studies" / "my"


def write_model(facts: DataFacts) -> None:
    """``model/`` in the current folder: an untrained detector of the study's classes."""
    trial = micro_trial()
    detector = build_detector(trial.recipe.detector, InitSpec(), trial.num_categories, seed=0)
    model = TrainedModel(
        detector=detector.eval(),
        config=trial,
        length=2.0,
        categories=facts.categories,
        ctx=WorkerContext.alone(1, 0.0, deterministic=False),
    )
    card = describe_model(model, {})
    write_shared(model, card, Path("model"))
    write_model_card(card, Path("model"))


def run_examples(text: str, name: str, names: dict[str, object]) -> tuple[int, list[str]]:
    """How many examples ran, and what the runner says of those that fail."""
    failures: list[str] = []
    test = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=failures.append)
    return len(test.examples), failures


def text_of(page: Path) -> str:
    """A page without its comments and without the fences of its blocks of code."""
    lines = COMMENT.sub("", page.read_text()).splitlines()
    return "\n".join("" if line.startswith("```") else line for line in lines)


def test_every_example_on_the_page_gives_what_it_prints(finished_study: Path) -> None:
    num_examples, failures = run_examples(text_of(PAGE), "api.md", {})
    assert num_examples > 5
    assert failures == []


def test_every_example_in_a_docstring_gives_what_it_prints(finished_study: Path) -> None:
    for name in public_names():
        shown = getattr(rethink_ray if name in rethink_ray.__all__ else rethink_ray.api, name)
        _, failures = run_examples(shown.__doc__, name, {"finished_study": finished_study})
        assert failures == []


def public_names() -> list[str]:
    return sorted({*rethink_ray.__all__, "StudyResults"})


def test_the_page_shows_every_public_name_and_has_an_example_of_each() -> None:
    text = COMMENT.sub("", PAGE.read_text())
    assert sorted(SHOWN.findall(text)) == public_names()
    assert [name for name in public_names() if f"`{name}`" not in text] == []


def undocumented(name: str, page: griffe.Object) -> Iterator[str]:
    """The name, and names below it, that a reader of the page would find without a sentence."""
    if not page.has_docstring:
        yield name
    for member in page.members.values() if page.is_class else ():
        if not member.name.startswith("_") and not member.has_docstring:
            yield f"{name}.{member.name}"


def test_every_public_name_and_its_members_have_a_docstring() -> None:
    package = griffe.load("rethink_ray", search_paths=[str(PAGE.parents[1])])
    for name in public_names():
        shown = package[name] if name in rethink_ray.__all__ else package[f"api.{name}"]
        assert list(undocumented(name, shown)) == []
