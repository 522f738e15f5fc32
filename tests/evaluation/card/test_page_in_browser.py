"""The card in headless Chromium: nothing sticks out, and a figure's link shows the answers behind it alone."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from pvchat_jax.evaluation.card.make import CardOptions, write_card
from tests.evaluation.card.made import write_sweep
from tests.evaluation.test_html_report_in_browser import _SWITCHES, browser, measure

_PICK = """<!doctype html><meta charset="utf-8"><body>
<iframe src="report.html" style="width: 1000px; height: 900px; border: 0"></iframe>
<script>
const follow = () => {{
  const frame = document.querySelector("iframe");
  frame.contentDocument.documentElement.style.scrollBehavior = "auto";
  [...frame.contentDocument.querySelectorAll("a.figure")].find(link => link.hash === "#{anchor}").click();
}};
window.addEventListener("load", () => {{ follow(); setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument;
  const head = page.getElementById("{anchor}");
  const items = [...head.parentElement.querySelectorAll("li")];
  const found = {{
    head: head.textContent,
    shown: items.filter(item => item.offsetHeight > 0).length,
    all: items.length,
    top: head.getBoundingClientRect().top,
  }};
  document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
}}, 500); }});
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a card with everything in it."""
    folder = tmp_path_factory.mktemp("card")
    write_card(write_sweep(folder / "sweep", videos=12, steps=(200, 400)), folder, CardOptions(title="Two people"))
    return (folder / "card.html").rename(folder / "report.html")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_fails_or_sticks_out(page: Path, width: int) -> None:
    found, messages = measure(page, width)
    assert messages == []
    assert found["width"] == width and found["overflow"] == 0 and found["outside"] == []
    assert {"doubts", "systems", "compared", "calibration", "near_duplicates", "methods", "answers"} <= set(found["sections"])


@pytest.mark.slow
def test_a_link_shows_the_answers_behind_a_figure_alone(page: Path) -> None:
    anchors = re.findall(r'class="figure" href="#(\w+)"', page.read_text(encoding="utf-8"))
    (page.parent / "pick.html").write_text(_PICK.format(anchor=anchors[2]), encoding="utf-8")
    command = [browser(), *_SWITCHES, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", (page.parent / "pick.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    found = json.loads(re.search("FOUND({.*})END", done.stdout)[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    behind = int(re.search(r"the (\d+) answers", found["head"])[1])
    assert 0 < found["shown"] == behind < found["all"]
    assert 0 <= found["top"] < 900
