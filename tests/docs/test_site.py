"""The documentation site builds from the same files, strictly, and asks the network for nothing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FROM_THE_NETWORK = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?https?://[^>]*>"
)


def build_site(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """``mkdocs build --strict`` as ``scripts/docs.sh`` runs it."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


Built = tuple[Path, subprocess.CompletedProcess[str]]
DEAD_LINKS = ("nowhere.md", "data.md#nowhere", "../rethink_ray/nowhere.py")
ALONE = "in_no_menu.md"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The site with three dead links and a page in no menu, and what its build prints."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "scripts", "rethink_ray"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
    for path in (ROOT / "mkdocs.yml", *ROOT.glob("*.md"), ROOT / "LICENSE"):
        shutil.copy(path, folder)
    page = folder / "docs" / "cluster.md"
    page.write_text(page.read_text() + "".join(f"\n[dead]({link})\n" for link in DEAD_LINKS))
    (folder / "docs" / ALONE).write_text("# In no menu\n")
    return folder / "site", build_site(folder, folder / "site")


@pytest.fixture(scope="module")
def site(built: Built) -> Path:
    return built[0]


def test_every_page_is_built_and_the_readme_is_the_first(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    readme = {path.parent / "index" if path.stem == "README" else path for path in pages}
    assert {path.with_suffix("") for path in readme} <= built
    assert "two commands" in (site / "index.html").read_text().lower()


def test_the_page_on_python_shows_signatures_and_docstrings(site: Path) -> None:
    text = (site / "api.html").read_text()
    for name in ("rethink_ray.run", "rethink_ray.read_study", "rethink_ray.StudyResults"):
        assert f'id="{name}"' in text
    assert "One row per trial" in text


def test_no_page_loads_a_font_a_script_or_a_picture_from_the_network(site: Path) -> None:
    loads = {
        tag
        for page in site.rglob("*.html")
        for tag in FROM_THE_NETWORK.findall(page.read_text())
        if 'rel="canonical"' not in tag
    }
    assert loads == set()


def test_a_dead_link_to_a_page_a_heading_or_a_file_and_a_page_in_no_menu_fail_the_build(
    built: Built,
) -> None:
    """And nothing else does: without them the build is without a warning."""
    _, done = built
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR"))]
    for link in DEAD_LINKS:
        [warning] = [line for line in lines if link in line]
        lines.remove(warning)
    [only] = lines
    assert 'not included in the "nav"' in only
    _, _, below = done.stderr.partition(only)
    assert below.splitlines()[1].strip() == f"- {ALONE}"
    assert not below.splitlines()[2].startswith("  - ")
