"""The page in headless Chromium, which has to be installed: its main paths with mouse and keyboard, and how it fits a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.test_html_report_in_browser import browser as chromium
from tests.server.enrolled import held, registry_server
from tests.server.running import Running
from tests.server.stub import write_clip

pytestmark = pytest.mark.slow
REFUSED = "the server responded with a status of 400"
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    write_clip(folder / "videos" / "park.mp4", greys=(40, 200, 40, 220), frames_each=24)
    with registry_server(folder) as running:
        running.assistant.verdicts["<Wilson>"] = "bright"
        yield running


@pytest.fixture(scope="module")
def chrome() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=list(SIZES))
def page(request: pytest.FixtureRequest, chrome, server: Running) -> Iterator:
    context = chrome.new_context(viewport=SIZES[request.param], has_touch=request.param == "phone")
    context.set_default_timeout(120_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: problems.append(sent.url) if not sent.url.startswith((server.url, "data:", "blob:")) else None)
    page.size = request.param
    page.goto(server.url)
    yield page
    assert [problem for problem in problems if REFUSED not in problem] == []
    context.close()


def picture(page, name: str, folder: Path) -> None:
    """Keeps what the page looks like, and sees that nothing sticks out."""
    page.screenshot(path=str(folder / f"{page.size}-{name}.png"), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def until(page, expression: str) -> None:
    """Waits for a condition; the page's policy forbids Playwright's own way."""
    for _ in range(1200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"this never came true: {expression}")


def choose_video(page) -> None:
    page.get_by_label("or take one of the server's").select_option("park.mp4")
    until(page, "document.getElementById('player').readyState > 0")


def test_a_conversation_about_a_video(page, tmp_path: Path) -> None:
    choose_video(page)
    page.get_by_role("checkbox", name="Ada").check()
    page.get_by_label("Your question").fill("What is Ada doing?")
    page.keyboard.press("Enter")
    answer = page.get_by_role("log").locator("li.said")
    answer.get_by_text("<Ada>: What is Ada doing? [park.mp4] 0").wait_for()
    assert answer.locator(".who").inner_text() == "Ada: is there (97 %)"
    page.get_by_label("Your question").fill("And where?")
    page.get_by_role("button", name="Ask", exact=True).click()
    answer.get_by_text("<Ada>: And where? [park.mp4] 1").wait_for()
    assert page.get_by_label("Your question").evaluate("field => field === document.activeElement")
    frames = page.get_by_role("button", name="Frame at")
    assert frames.count() == 4
    until(page, "[...document.querySelectorAll('#frames img')].every(image => image.naturalWidth > 0)")
    frames.nth(3).click()
    assert page.evaluate("document.getElementById('player').currentTime") > 5
    picture(page, "conversation", tmp_path)


def test_where_somebody_is_and_a_click_goes_there(page, tmp_path: Path) -> None:
    choose_video(page)
    page.get_by_role("checkbox", name="Wilson").check()
    page.get_by_role("button", name="Look through the video").click()
    there = page.get_by_role("group", name="When Wilson is there").get_by_role("button")
    there.first.wait_for()
    assert [button.get_attribute("aria-label") for button in there.all()] == [
        "Wilson is there from 0:02 to 0:04, at most 97 %; go there",
        "Wilson is there from 0:06 to 0:08, at most 97 %; go there",
    ]
    there.nth(1).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('player').currentTime") == pytest.approx(6, abs=0.3)
    bar = page.locator(".strip-bar").bounding_box()
    page.mouse.click(bar["x"] + bar["width"] * 0.1, bar["y"] + bar["height"] / 2)
    assert page.evaluate("document.getElementById('player').currentTime") == pytest.approx(0.8, abs=0.3)
    until(page, "[...document.querySelectorAll('#moments img')].every(image => image.naturalWidth > 0)")
    picture(page, "timeline", tmp_path)


def test_an_upload_and_one_that_is_refused(page, tmp_path: Path, server: Running) -> None:
    clip = write_clip(tmp_path / "holiday.mp4")
    page.get_by_label("Upload a video").set_input_files(clip)
    page.get_by_text("holiday.mp4").wait_for()
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    page.get_by_label("Upload a video").set_input_files(tmp_path / "bad.mp4")
    page.get_by_role("alert").get_by_text("it is damaged or no video").wait_for()
    picture(page, "refused", tmp_path)


def test_enrolling_and_erasing_with_the_keyboard(page, tmp_path: Path, server: Running) -> None:
    page.get_by_role("link", name="People").press("Enter")
    page.get_by_text("Agreed by").or_(page.get_by_text("Invented")).first.wait_for()
    page.get_by_role("group", name="One video of the person").get_by_label("Video").set_input_files(write_clip(tmp_path / "nora.mp4"))
    page.get_by_role("button", name="Next").press("Enter")
    page.get_by_label("Name in questions").fill("Nora")
    page.get_by_label("Who agreed: the person").fill("Nora")
    page.get_by_role("button", name="Start learning").press("Enter")  # without the consent nothing happens
    assert page.get_by_label("The person has agreed").evaluate("box => box === document.activeElement")
    picture(page, "consent", tmp_path)
    page.get_by_label("The person has agreed").press(" ")
    with held(server, "train"):
        page.get_by_role("button", name="Start learning").press("Enter")
        page.get_by_role("status").get_by_text("Learning Nora, step “learn”").wait_for()
        page.frame_locator("#sheet").get_by_text("What was made").wait_for()
        picture(page, "learning", tmp_path)
    page.get_by_role("heading", name="Enrolled").nth(1).wait_for()
    assert page.locator("#scores").inner_text().split("\n")[:1] != [""]
    picture(page, "enrolled", tmp_path)
    page.get_by_role("button", name="Erase Nora").press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("button", name="Erase").is_disabled()
    dialog.get_by_label("Type the name to confirm").fill("nora")
    picture(page, "erase", tmp_path)
    dialog.get_by_role("button", name="Erase").press("Enter")
    page.get_by_text("Nora is erased; the receipt is").wait_for()
    assert page.get_by_role("button", name="Erase Nora").count() == 0
    assert not (server.folder / "people" / "packs" / "nora").exists()


def test_everything_has_a_name(page) -> None:
    """Fields have labels, pictures alternatives, buttons words; nothing is smaller than a finger on a phone."""
    choose_video(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, textarea, button, iframe, img")].filter(element =>
            !(element.labels?.length || element.textContent.trim() || element.getAttribute("aria-label") || element.title
              || element.hasAttribute("alt"))).map(element => element.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, textarea, .chips label, nav a")].filter(element => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && box.height < 32; }).map(element => element.outerHTML.slice(0, 80))"""
    )
    assert small == []
