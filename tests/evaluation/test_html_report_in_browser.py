"""The page in a real browser: headless Chromium, which has to be installed on this machine."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.evaluation.pages import SECTIONS, write_full_page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--virtual-time-budget=5000"),
    "--allow-file-access-from-files",  # lets the page around the report measure it
)
# A frame is as narrow as it is told to be, which the window of a browser need not be.
_MEASURE = """<!doctype html><meta charset="utf-8"><body>
<iframe src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>
window.addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const boxes = [...page.querySelectorAll("section, figure, svg, .card, .tile, h1, h2, p")];
  const found = {{
    width: root.clientWidth,
    overflow: root.scrollWidth - root.clientWidth,
    outside: boxes.filter(box => box.getBoundingClientRect().right > root.clientWidth + 0.5).map(box => box.outerHTML.slice(0, 80)),
    missing: [...page.images].filter(image => image.naturalWidth === 0).map(image => image.alt),
    images: page.images.length,
    sections: [...page.querySelectorAll("section")].filter(section => section.offsetHeight > 50).map(section => section.id),
  }};
  document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
}});
</script></body>"""


def browser() -> str:
    """The path of a Chromium."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    assert found, f"this test needs Chromium: install it (apt-get install chromium) so that one of {', '.join(_NAMES)} is on the PATH"
    return found


def measure(page: Path, width: int) -> tuple[dict, list[str]]:
    """What the browser found in a frame of `width` pixels, and the messages of its console."""
    around = page.parent / f"measure{width}.html"
    around.write_text(_MEASURE.format(width=width), encoding="utf-8")
    command = [browser(), *_SWITCHES, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", around.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    answer = re.search("FOUND({.*})END", done.stdout)
    assert answer, f"the browser said nothing:\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    return json.loads(answer.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), re.findall(
        r"CONSOLE.*", done.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_fails_is_missing_or_sticks_out(tmp_path: Path, width: int) -> None:
    found, messages = measure(write_full_page(tmp_path), width)
    assert messages == []
    assert found["width"] == width
    assert found["images"] > 0 and found["missing"] == []
    assert found["overflow"] == 0 and found["outside"] == []
    assert tuple(found["sections"]) == SECTIONS
