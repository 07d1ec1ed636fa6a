"""The report: one page that needs nothing from anywhere, in both themes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.one_trial import export_trial
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.show.figures import (
    COLORS,
    FAINT,
    INK,
    draw_figures,
    inlined,
    look_of,
    panel,
)
from rethink_ray.analysis.show.report import write_report
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import Event
from rethink_ray.records.views import write_views
from rethink_ray.session import start_study
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.load import load_config
from tests.analysis.planted import Planted, build_study, noisy


def _planted() -> Planted:
    arms = {"scratch": {}, "<b>&": {"set": {"init.source": "upstream"}}}
    return Planted(build_study(arms=arms), noisy(lambda c, n: 10 + n, 0.5, 3))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study") / "s"
    return write_report(_planted().directory(root))


def test_the_report_directory_holds_every_form(page: Path) -> None:
    figures = sorted(p.name for p in (page.parent / "figures").iterdir())
    assert figures == [
        "full-curves.svg",
        "full-differences.svg",
        "full-hours.svg",
        "full-trials.svg",
    ]
    tree = json.loads((page.parent / "findings.json").read_text())
    assert tree["answers"][0] in (page.parent / "findings.md").read_text()


@pytest.mark.parametrize("name", ["scratch", "pretrained_strong", "self_training_from_imagenet"])
def test_a_legend_of_six_arms_stays_inside_its_figure(name: str) -> None:
    def paint(axes: Any) -> None:
        for index in range(6):
            axes.plot([0, 1], [index, index], label=f"{name}_{index}")

    svg = panel("six arms", paint)
    width = float(re.findall(r'viewBox="0 0 ([0-9.]+)', svg)[0])
    places = re.findall(rf'x="(-?[0-9.]+)"[^>]*>({name}_\d)<', svg)
    assert len(places) == 6
    # 7.5 points a letter of 13 is about DejaVu Sans, the widest of the fonts asked for
    assert all(float(x) > 30.0 and float(x) + 7.5 * len(text) < width for x, text in places)


def test_the_page_loads_nothing_from_anywhere(page: Path) -> None:
    html = page.read_text()
    loads = re.findall(r"<(?:link|img|iframe)\b|@import|\bsrc=|url\((?!#)", html)
    assert loads == []


def test_names_from_the_study_file_are_escaped(page: Path) -> None:
    assert "<b>&" not in re.sub(r"<figure>.*?</figure>", "", page.read_text(), flags=re.S)
    assert "&lt;b&gt;&amp;" in page.read_text()


@pytest.mark.parametrize("name", ["$x^$", "_hidden", "a|b", "50 %", "pr\u00e9"])
def test_an_arm_may_have_any_printable_name(name: str, tmp_path: Path) -> None:
    arms = {"scratch": {}, name: {"set": {"init.source": "upstream"}}}
    planted = Planted(build_study(arms=arms), noisy(lambda c, n: 10 + n, 0.5, 3))
    page = write_report(planted.directory(tmp_path / "s"))
    figure = ElementTree.fromstring((page.parent / "figures" / "full-curves.svg").read_text())
    assert any((text or "").strip() == name for text in figure.itertext())


def test_the_page_says_how_to_reproduce_a_number(page: Path) -> None:
    html = page.read_text()
    for command in ("run", "export", "train", "evaluate", "report"):
        assert f"rethink-ray {command}" in html
    [trial] = set(re.findall(r"--trial ([0-9a-f]{12}) --out trial", html))
    [config] = re.findall(r"rethink-ray train trial/(\S+)", html)
    out = page.parent / "trial"
    written = export_trial(StudyDirectory.open(page.parent.parent), trial, out)
    assert out / config in written  # the command names a file that is there
    told = load_config(out / config)
    assert told.plain().trial_id == trial
    assert set(told.expected) == {"val/ap", "test/ap"}


def test_each_figure_is_xml_with_a_title_units_and_no_stand_in_colour(page: Path) -> None:
    for path in (page.parent / "figures").iterdir():
        text = path.read_text()
        ElementTree.fromstring(text)
        axis = " of one run, asset included" if "hours" in path.stem else "schedule length (1x = 60"
        assert axis in text
        assert "(points)" in text
        assert INK not in text
        assert FAINT not in text
        assert 'fill="#ffffff"' in text


def test_inside_the_page_ink_and_arms_follow_the_readers_theme() -> None:
    for svg in draw_figures(derive_findings(_planted().tables())).values():
        shown = inlined(svg)
        assert shown.startswith("<svg")
        assert "currentColor" in shown
        assert not any(color in shown for color in (*COLORS, INK, FAINT))


def test_the_same_study_gives_the_same_page_byte_for_byte(page: Path, tmp_path: Path) -> None:
    again = write_report(_planted().directory(tmp_path / "s"))
    assert again.read_text() == page.read_text()


def test_an_empty_study_has_a_page_without_figures(tmp_path: Path) -> None:
    planted = _planted()
    start_study(tmp_path / "s", planted.study, "", planted.facts, {})
    page = write_report(tmp_path / "s")
    tables = read_tables(StudyDirectory.open(tmp_path / "s"))
    assert derive_findings(tables).missing in page.read_text()
    assert "<figure>" not in page.read_text()


def test_every_prefix_of_a_study_has_a_page_and_no_traceback(tmp_path: Path) -> None:
    planted = _planted()
    events: list[Event] = planted.events()
    made = start_study(tmp_path / "s", planted.study, "", planted.facts, {})
    for number, event in enumerate(events):
        made.log.append(event)
        if number % 18 == 0:
            assert write_report(tmp_path / "s").is_file()


def test_a_folder_without_a_study_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="must hold a study"):
        write_report(tmp_path)


def test_findings_need_neither_torch_nor_ray_nor_optuna() -> None:
    code = (
        "import sys, rethink_ray.analysis.findings, rethink_ray.analysis.show.render;"
        "print(sorted({'torch', 'ray', 'optuna', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_a_finished_study_imports_no_pandas(tmp_path: Path) -> None:
    directory = StudyDirectory.open(_planted().directory(tmp_path / "s"))
    write_views(directory, directory.load_state(), build_tables)
    code = (
        "import sys; from rethink_ray.commands.results import findings;"
        f"from pathlib import Path; findings(Path({str(tmp_path / 's')!r}));"
        "assert 'pandas' not in sys.modules"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "FINDINGS" in told.stdout


def test_no_two_of_36_arms_look_the_same() -> None:
    assert len({tuple(look_of(index).items()) for index in range(36)}) == 36


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_stands_out_4_5_to_1_and_arms_3_to_1_in_every_theme(theme: str, page: Path) -> None:
    """WCAG 2's contrast of the page's own colours, on its paper and on its panels."""
    blocks = re.findall(r":root \{(.*?)\}", page.read_text(), flags=re.S)
    light, dark, printed = (dict(re.findall(r"--([a-z0-9-]+): (#\w+);", b)) for b in blocks)
    colors = {"light": light, "dark": light | dark, "print": light | printed}[theme]
    for name in ("ink", "soft", "yes", "no", "same", "open", "none"):
        for ground in ("paper", "panel"):
            assert _contrast(colors[name], colors[ground]) >= 4.5, (theme, name, ground)
    for index in range(6):
        assert _contrast(colors[f"arm-{index}"], colors["panel"]) >= 3.0, (theme, index)


def _contrast(one: str, other: str) -> float:
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    digits = color.removeprefix("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255.0 for i in (0, 2, 4)]
    line = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * line[0] + 0.7152 * line[1] + 0.0722 * line[2]
