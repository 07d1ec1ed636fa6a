"""What documents promise: links lead somewhere, studies load, commands and files exist."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from rethink_ray.cli import app
from rethink_ray.spec.load import load_study
from rethink_ray.spec.study import Study

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTING = re.compile(r"--set[ =]([A-Za-z]\w*)[.=]")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose_of(page: Path) -> str:
    """The text outside code blocks."""
    return FENCE.sub("", page.read_text())


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and MkDocs give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    return {anchor_of(h) for h in re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)}


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every ``rethink-ray ...`` that a page shows as a line of code, in words."""
    text = page.read_text()
    indented = re.findall(r"^ {4,}(?:\$ )?(rethink-ray .*)$", text, re.MULTILINE)
    fenced = [line for _, code in FENCE.findall(text) for line in code.splitlines()]
    typed = (line[line.index("rethink-ray ") :] for line in fenced if "rethink-ray " in line)
    for line in (*indented, *(part.partition("||")[0] for part in typed)):
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    for link in LINK.findall(prose_of(page)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_table_cell_holds_a_paragraph(page: Path) -> None:
    for line in prose_of(page).splitlines():
        if line.startswith("|"):
            longest = max(line.split("|"), key=len)
            assert len(longest) < 160, f"{name_of(page)}: {longest}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_code_block_exists_with_its_options(page: Path) -> None:
    for _, name, *words in command_lines(page):
        command = typer.main.get_command(app).commands[name]
        if hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        known = {name for option in command.params for name in option.opts}
        asked_for = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked_for <= known, f"{name_of(page)}: {name} {asked_for - known}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_sentences_have_a_noun_where_a_relative_clause_begins(page: Path) -> None:
    vague = re.findall(r"\b(?:whoever|whatever|nobody)\b", prose_of(page), re.IGNORECASE)
    assert not vague or page.name == "CONTRIBUTING.md", f"{name_of(page)}: {vague}"


def test_a_study_in_a_document_is_a_study_that_loads(tmp_path: Path) -> None:
    blocks = [c for p in PAGES for kind, c in FENCE.findall(p.read_text()) if kind == "yaml"]
    studies = [code for code in blocks if code.startswith("study:")]
    assert len(studies) == 3  # README, guide, tutorial
    for code in studies:
        (tmp_path / "study.yaml").write_text(code)
        assert load_study(tmp_path / "study.yaml", [])[0].arms


def test_the_study_in_the_readme_has_twenty_lines() -> None:
    [code] = [c for kind, c in FENCE.findall((ROOT / "README.md").read_text()) if kind == "yaml"]
    assert len(code.splitlines()) == 20


def test_settings_are_written_by_their_path_in_the_study_everywhere() -> None:
    places = [*PAGES, *(ROOT / "search_spaces").glob("*.yaml"), *(ROOT / "scripts").rglob("*.*")]
    places += (ROOT / "rethink_ray").rglob("*.py")
    for place in places:
        if place.suffix in {".md", ".yaml", ".py", ".sh"} and place.name != "CHANGELOG.md":
            groups = set(SETTING.findall(place.read_text()))
            assert groups <= set(Study.model_fields) | {"path"}, f"{name_of(place)}: {groups}"


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_the_architecture_names_is_there(name: str) -> None:
    named = set(re.findall(r"`([\w/]+\.(?:py|sh|cff))`", (ROOT / name).read_text()))
    paths = [path.as_posix() for path in ROOT.rglob("*.*") if ".venv" not in path.parts]
    missing = {end for end in named if not any(path.endswith(f"/{end}") for path in paths)}
    assert len(named) > 10
    assert not missing


def test_continuous_integration_calls_the_test_command_of_the_readme() -> None:
    command = "bash scripts/test.sh"
    assert f"exec {command}\n" in (ROOT / ".ci/run").read_text()
    assert f"    {command} " in (ROOT / "README.md").read_text()


def test_one_version_stands_in_the_package_the_changes_and_the_citation() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == version
