"""The code of backbones from elsewhere: a version or a source, the same on every machine."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import continue_study, start_study
from rethink_ray.spec.backbone_code import code_of, own_backbones_of, require_same_code
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.resolve import Cell, CellResolver
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts
from tests.spec.run_samples import TINY, sample, with_parts

FACTS = made_up_facts({"full": 400})


def in_package(folder: Path, source: str) -> str:
    (folder / "nets").mkdir(exist_ok=True)
    (folder / "nets" / "__init__.py").write_text("raise RuntimeError('nobody runs this')\n")
    (folder / "nets" / "ours.py").write_text(source)
    return "nets.ours:build"


@pytest.fixture(autouse=True)
def _importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))


def study(**arms: str) -> Study:
    tree = {
        "study": "s",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {name: {"set": {"detector.backbone": b}} for name, b in arms.items()},
    }
    return Study.model_validate_json(json.dumps(tree))


def test_a_function_is_named_by_the_source_of_its_module_which_nobody_runs(tmp_path: Path) -> None:
    name = in_package(tmp_path, "x = 1\n")
    first = code_of(name, "test")
    assert len(first) == 16
    assert "nets" not in sys.modules
    assert code_of("nets.ours:other", "test") == first
    assert code_of(in_package(tmp_path, "x = 2\n"), "test") != first
    assert code_of(in_package(tmp_path, "x = 1\n"), "test") == first


def test_a_module_that_builds_on_timm_is_named_by_its_version_too(tmp_path: Path) -> None:
    plain = code_of(in_package(tmp_path, "import torch\n"), "test")
    assert " " not in plain
    name = in_package(tmp_path, "def build(spec):\n    from timm.models import resnet\n")
    try:
        timm = version("timm")
    except ModuleNotFoundError:
        assert code_of(name, "test").endswith(" timm None")
        with pytest.raises(SpecError, match=r"test timm:resnet18: needs timm on this machine"):
            code_of("timm:resnet18", "test")
    else:
        assert code_of(name, "test").endswith(f" timm {timm}")
        assert code_of("timm:resnet18", "test") == f"timm {timm}"


def test_a_module_without_source_is_named_by_what_installed_it() -> None:
    compiled = "numpy._core._multiarray_umath:build"
    assert code_of(compiled, "test") == f"numpy {version('numpy')}"


@pytest.mark.parametrize(
    "name", ["no_such_package:build", "nets.missing:build", "nets.ours.inner:build"]
)
def test_a_backbone_that_is_not_here_is_refused_by_name(tmp_path: Path, name: str) -> None:
    in_package(tmp_path, "")
    (tmp_path / "inner.py").write_text("")  # no part of nets.ours, which is no package
    with pytest.raises(SpecError, match=f"arms.x {name}: must be a module on this machine"):
        code_of(name, "arms.x")


def test_only_backbones_from_elsewhere_are_asked_for_and_their_code_is_in_every_id() -> None:
    asked = study(ours="resnet18", theirs="timm:resnet18")
    assert own_backbones_of(asked, "s.yaml") == {
        "timm:resnet18": "s.yaml: full/theirs: detector.backbone"
    }
    ids = {}
    for code in ("timm 1", "timm 2"):
        facts = made_up_facts({"full": 400}, backbones={"timm:resnet18": code})
        runs = [
            CellResolver(asked, Cell("full", arm), facts).resolve({}, 0)
            for arm in ("ours", "theirs")
        ]
        assert [run.backbone_code for run in runs] == ["", code]
        ids[code] = [run.trial_id for run in runs]
    assert ids["timm 1"][0] == ids["timm 2"][0]
    assert ids["timm 1"][1] != ids["timm 2"][1]


def test_a_machine_with_other_code_refuses_the_run(tmp_path: Path) -> None:
    name = in_package(tmp_path, "x = 1\n")
    recipe = with_parts(detector=TINY.model_copy(update={"backbone": name}))
    run = sample(recipe, backbone_code=code_of(name, "test"))
    require_same_code(run)
    in_package(tmp_path, "x = 2\n")
    told = rf"detector.backbone {name}: must be the code .*{run.backbone_code}.*Install the same"
    with pytest.raises(SpecError, match=told):
        require_same_code(run)
    require_same_code(run.model_copy(update={"backbone_code": ""}))  # records of then have none


def test_a_study_is_not_continued_on_other_code(tmp_path: Path) -> None:
    asked = study(theirs="timm:resnet18")
    first, second = (
        made_up_facts({"full": 400}, backbones={"timm:resnet18": f"timm {n}"}) for n in (1, 2)
    )
    start_study(tmp_path / "s", asked, "", first, {})
    directory = StudyDirectory.open(tmp_path / "s")
    assert directory.facts == first
    continue_study(directory, asked, first)
    told = r"timm:resnet18: must be the code that the study was started with \(timm 1\)"
    with pytest.raises(DataError, match=told):
        continue_study(directory, asked, second)
