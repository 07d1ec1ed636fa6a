"""Draws the first screen of a report, for the README: a PNG of few colours. Needs Chromium.

python scripts/draw_report.py studies/quickstart/report/report.html docs/figures/report.png
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH_PX, HEIGHT_PX = 1000, 1000
COLOURS = 32


def main(page: Path, picture: Path) -> None:
    """``picture`` shows the top of ``page`` as a browser does."""
    if not page.is_file():
        sys.exit(f"{page}: must be a report. Write it with: rethink-ray report DIR.")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("draw_report: needs chromium or google-chrome on the PATH. Install one of them.")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        size = f"--window-size={WIDTH_PX},{HEIGHT_PX}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size]
        command = [browser, *flags, f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
