"""A hook of mkdocs: which pages the site has, in reading order, and where their links lead.

README, CONTRIBUTING and CHANGELOG lie beside ``docs/`` and become pages too; the README is the
first one. A link to any other file outside ``docs/`` becomes plain text. A page that is listed
below and missing is left out; one that exists and is not listed fails ``mkdocs build --strict``.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PAGES = {
    "Learn": ["tutorial.md", "guide.md"],
    "Look up": ["reference.md", "api.md", "findings-json.md", "architecture.md"],
    "By subject": ["data.md", "augment.md", "networks.md", "models.md", "cluster.md"],
    "Studies and numbers": ["studies.md", "benchmarks.md"],
}
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files beside ``docs/`` -> their pages."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """The navigation lists every page that exists."""
    docs = Path(config["docs_dir"])
    beside = [page for name, page in OUTSIDE.items() if (docs.parent / name).is_file()]
    nav: list[Any] = [{config["site_name"]: "index.md"}]
    for title, pages in PAGES.items():
        there = [page for page in pages if (docs / page).is_file()]
        nav.append({title: there})
    nav.append({"Decisions": _decisions(docs)})
    nav.append({"Project": [page for page in beside if page != "index.md"]})
    config["nav"] = nav
    return config


def on_files(files: Any, config: Any) -> Any:
    """The files beside ``docs/`` are pages of the site."""
    root = Path(config["docs_dir"]).parent
    for name, page in OUTSIDE.items():
        if (root / name).is_file():
            text = link_pages((root / name).read_text(encoding="utf-8"), "", root)
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links of a page in ``docs/`` that lead out of it lead to pages, or are plain text."""
    if page.file.generated_by:
        return markdown
    root = Path(config["docs_dir"]).parent
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")
    return link_pages(markdown, folder, root)


def link_pages(markdown: str, folder: str, root: Path) -> str:
    """``markdown`` of a file in ``folder`` of the repository, with links as the site needs them."""
    here = folder.removeprefix("docs").lstrip("/")

    def link(match: re.Match[str]) -> str:
        mark, label, target, anchor = match.groups()
        if "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in OUTSIDE:
            path = f"docs/{OUTSIDE[path]}"
        elif not path.startswith("docs/"):
            return label if (root / path).exists() else match[0]
        page = posixpath.relpath(path.removeprefix("docs/"), here or ".")
        return f"{mark}[{label}]({page}{anchor or ''})"

    return LINK.sub(link, markdown)


def _decisions(docs: Path) -> list[str]:
    rooms = sorted(path.name for path in (docs / "decisions").glob("*.md"))
    rooms.sort(key=lambda name: name != "README.md")
    return [f"decisions/{name}" for name in rooms] or ["decisions.md"]
