"""The distributions: the wheel that is built from the sdist holds all that the program needs."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rethink_ray"
LICENSES = [name for name in ("LICENSE", "NOTICE") if (ROOT / name).is_file()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment that holds the wheel; what the wheel needs is read from this one."""

    python: Path
    outside: Path
    """A folder outside the repository."""

    def run(self, *command: str, seconds: float = 300) -> str:
        """What a command of the environment prints, run outside the repository."""
        allowed = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [self.python.parent / command[0], *command[1:]],
            cwd=self.outside,
            env={**allowed, "RETHINK_RAY_CACHE": str(self.outside / "cache")},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """An sdist or a wheel of ``source``, built by hatchling without a download."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", out]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    [path] = [path for path in out.iterdir() if path.is_file()]
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    [unpacked] = source.iterdir()
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Environment(python=python, outside=tmp_path_factory.mktemp("outside"))


def test_the_wheel_holds_every_file_of_the_package_and_every_study(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    expected = {str(path.relative_to(ROOT)) for path in files}
    expected |= {f"rethink_ray/search_spaces/{p.name}" for p in ROOT.glob("search_spaces/*.yaml")}
    assert expected - names == set()
    assert {Path(name).suffix for name in expected} >= {".py", ".yaml", ".csv", ".html", ".typed"}
    assert [n for n in LICENSES if not any(name.endswith(f"licenses/{n}") for name in names)] == []
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"rethink_ray"}


def test_the_sdist_holds_the_tests_and_the_documentation_and_nothing_that_git_ignores(
    sdist: Path,
) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "pyproject.toml", "requirements.lock", "mkdocs.yml"} <= names
    assert {"docs/reference.md", "tests/test_wheel.py", "scripts/setup.sh"} <= names
    assert {name.split("/")[0] for name in names} & {".venv", "site", "studies"} == set()
    assert set(LICENSES) <= names


def test_the_installed_program_plans_a_study_that_ships(environment: Environment) -> None:
    module = environment.run("python", "-c", "import rethink_ray; print(rethink_ray.__file__)")
    assert Path(module.strip()).is_relative_to(environment.python.parent.parent)
    text = environment.run("rethink-ray", "plan", "quickstart")
    assert "study quickstart" in text
    assert "full/frozen" in text


def test_the_installed_program_prints_a_schema_with_descriptions(environment: Environment) -> None:
    schema = json.loads(environment.run("rethink-ray", "schema"))
    assert schema["properties"]["margin"]["description"].startswith("Points")


@pytest.mark.slow
@pytest.mark.ray
def test_the_installed_program_runs_a_study_that_ships_and_reports(
    environment: Environment,
) -> None:
    smaller = (
        *("--set", "data.shapes={train: 80, val: 20, test: 20, image_px: 96}"),
        *("--set", "settings={upstream: {classes: 4, images: 100, steps: 20}}"),
        *("--set", "schedule={unit: 10, lengths: [2, 4], warmup: 5, decay: {before_end: [0.4]}}"),
        *("--set", "budget={trials: 2, keep: [2, 1], replicates: 3}"),
    )
    text = environment.run(
        "rethink-ray", "run", "quickstart", "--out", "study", *smaller, seconds=1800
    )
    assert "done after" in text
    assert (environment.outside / "study" / "report" / "report.html").is_file()
    assert environment.run("rethink-ray", "findings", "study", "--json").startswith("{")
