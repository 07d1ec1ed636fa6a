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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build_site(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_built_and_the_readme_is_the_first(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    readme = {path.parent / "index" if path.stem == "README" else path for path in pages}
    assert {path.with_suffix("") for path in readme} <= built
    assert "two commands" in (site / "index.html").read_text().lower()


def test_the_page_on_python_shows_signatures_and_docstrings(site: Path) -> None:
    text = (site / "api.html").read_text()
    for name in ("rethink_ray.run", "rethink_ray.read_study", "rethink_ray.api.StudyResults"):
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
    tmp_path: Path,
) -> None:
    for name in ("docs", "scripts", "rethink_ray"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("mkdocs.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    page = tmp_path / "docs" / "cluster.md"
    links = ("nowhere.md", "data.md#nowhere", "../rethink_ray/nowhere.py")
    page.write_text(page.read_text() + "".join(f"\n[dead]({link})\n" for link in links))
    (tmp_path / "docs" / "in_no_menu.md").write_text("# In no menu\n")
    built = build_site(tmp_path, tmp_path / "site")
    assert built.returncode == 1
    assert [link for link in (*links, "in_no_menu.md") if link not in built.stderr] == []
