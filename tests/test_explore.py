"""The explorer as its user sees it: the command, and the page in a browser."""

import re
import signal
from collections.abc import Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import pytest

import lazyrich as lr
from lazyrich._explore.jobs import JOBS

from .explorer import Served, served
from .helpers import html_faults


@pytest.mark.parametrize("name", JOBS)
def test_every_job_is_a_function(name):
    job = JOBS[name]
    module = import_module(f"lazyrich._explore.jobs.{job.module}")
    assert callable(getattr(module, job.function))


@pytest.fixture(scope="module")
def explorer() -> Iterator[Served]:
    with served() as found:
        yield found


def test_the_page_is_html():
    page = files("lazyrich._explore").joinpath("static", "page.html").read_text("utf-8")
    assert not html_faults(page)
    assert html_faults(page.replace("</header>", "")) == ["expected-one-end-tag-but-got-another"]


def channels(colour):
    """The parts of `rgb(...)`, from 0 to 255."""
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def luminance(colour):
    shares = [part / 255 for part in channels(colour)]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


DRAW = """async (figure) => {
    const { draw } = await import("./static/figure.js");
    const place = document.createElement("div");
    document.querySelector("[role=tabpanel]:not([hidden])").replaceChildren(place);
    await draw(place, figure, "A caption.");
}"""
LINES = """() => [...document.querySelectorAll(".figure .scatterlayer path.js-line")]
    .map((line) => getComputedStyle(line).stroke)"""
WORDS = """() => [...document.querySelectorAll(".figure text")]
    .filter((text) => text.textContent).map((text) => getComputedStyle(text).fill)"""


@pytest.fixture
def drawn(explorer, new_page):
    """Draws the figure of a record in a page; returns the page and the figure."""

    def draw(size="wide"):
        record = lr.open_record(Path(__file__).parent / "golden" / "record.nc")
        figure = lr.plot.plotly(lr.plot.describe.run(record))
        page = new_page(explorer.address + "#tour", size, color_scheme="light").page
        page.get_by_role("tabpanel", name="Tour").locator("*").first.wait_for()
        page.evaluate(DRAW, figure)
        page.get_by_role("figure", name="A caption.").wait_for()
        return page, figure

    return draw


@pytest.mark.browser
@pytest.mark.slow
def test_figures_are_seen_in_light_and_dark(drawn):
    page, figure = drawn()
    light = page.evaluate(LINES)
    hues = ["#" + "".join(f"{part:02x}" for part in channels(text)) for text in light]
    assert len(light) == len(figure["data"])
    assert set(hues) == {trace["line"]["color"] for trace in figure["data"]}
    assert any(contrast(text, "rgb(20, 20, 20)") < 2 for text in light)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(500)
    dark = page.evaluate(LINES)
    assert len(dark) == len(light)
    assert min(contrast(text, "rgb(20, 20, 20)") for text in dark) > 3
    assert min(contrast(text, "rgb(20, 20, 20)") for text in page.evaluate(WORDS)) > 7
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(500)
    assert page.evaluate(LINES) == light


AXES = """() => {
    const layout = document.querySelector(".figure")._fullLayout;
    return Object.keys(layout).filter((key) => /^yaxis/.test(key)).map((key) => {
        const below = layout[layout[key].anchor.replace("x", "xaxis")];
        return [layout[key].domain[0], below.domain[0]];
    });
}"""


@pytest.mark.browser
@pytest.mark.slow
def test_panels_are_below_each_other_on_a_narrow_screen(drawn):
    page, _ = drawn("wide")
    assert len({left for _, left in page.evaluate(AXES)}) == 3
    page, _ = drawn("narrow")
    axes = page.evaluate(AXES)
    assert [left for _, left in axes] == [0, 0, 0]
    bottoms = [bottom for bottom, _ in axes]
    assert bottoms == sorted(set(bottoms), reverse=True)
    box = page.get_by_role("figure", name="A caption.").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["height"] > 600


KEPT = """
const Plain = WebSocket;
window.sockets = [];
window.WebSocket = class extends Plain {
    constructor(...address) { super(...address); window.sockets.push(this); }
};
"""


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_that_loses_its_socket_connects_again(explorer, new_page):
    opened = new_page("about:blank")
    page = opened.page
    page.add_init_script(KEPT)
    page.goto(explorer.address)
    ready(page)
    page.evaluate("sockets[0].close()")
    page.get_by_role("status").filter(has_text="Connection lost; trying again.").wait_for()
    ready(page)
    from playwright.sync_api import expect

    expect(page.get_by_role("status")).not_to_have_text(re.compile("lost"))
    assert page.evaluate("sockets.length") == 2
    asked = "async () => { const { Socket } = await import('./static/socket.js');"
    asked += "return await new Socket(() => {}).ask('lab.list'); }"
    assert "lyu2024/1a" in {found["name"] for found in page.evaluate(asked)["experiments"]}


VIEWS = ["Lab", "Map", "Inside", "Tour"]


def selected(page):
    return page.get_by_role("tab", selected=True).inner_text()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("size", ["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_is_accessible(explorer, new_page, size, scheme):
    opened = new_page(explorer.address, size, color_scheme=scheme)
    page = opened.page
    ready(page)
    for view in VIEWS:
        page.get_by_role("tab", name=view).click()
        page.get_by_role("tabpanel", name=view).wait_for()
        page.wait_for_load_state("networkidle")
        assert selected(page) == view
        assert page.locator("[role=tabpanel]:visible").count() == 1
        assert opened.findings() == []
        assert not opened.is_cut()
        assert not html_faults(page.content())


def ready(page):
    """Waits until both workers are."""
    from playwright.sync_api import expect

    starting = re.compile("Connecting|Starting")
    expect(page.get_by_role("status")).not_to_have_text(starting, timeout=60_000)


@pytest.mark.browser
def test_tabs_are_chosen_by_keyboard(explorer, new_page):
    page = new_page(explorer.address).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-lab"
    for key, view in [("ArrowRight", "Map"), ("End", "Tour"), ("ArrowRight", "Lab"),
                      ("ArrowLeft", "Tour"), ("Home", "Lab"), ("ArrowRight", "Map")]:  # fmt: skip
        page.keyboard.press(key)
        assert selected(page) == view
        assert page.evaluate("document.activeElement.textContent") == view
    # Only the selected tab is in the order of focus.
    assert page.locator("[role=tab][tabindex='-1']").count() == 3
    page.go_back()
    assert selected(page) == "Lab"


@pytest.mark.browser
def test_the_fragment_is_the_state(explorer, new_page):
    page = new_page(explorer.address + "#inside").page
    assert selected(page) == "Inside"
    page.reload()
    assert selected(page) == "Inside"
    page.evaluate("location.hash = '#nothing?x=1'")
    page.get_by_role("tab", name="Lab", selected=True).wait_for()


@pytest.mark.browser
@pytest.mark.parametrize(
    "how", ["SIGINT", pytest.param("SIGKILL", marks=pytest.mark.slow)]
)  # fmt: skip
def test_a_page_whose_server_ends_says_so(new_page, how):
    with served() as explorer:
        opened = new_page(explorer.address)
        opened.page.get_by_role("status").filter(has_text="Starting").wait_for()
        # A file that is cut off while it loads is an error in the console.
        opened.page.wait_for_load_state("networkidle")
        explorer.process.send_signal(getattr(signal, how))
        status = opened.page.get_by_role("status").filter(has_text="The server has stopped.")
        status.wait_for(timeout=20_000)
    if how == "SIGKILL":
        # It may be there again: attempts to connect are errors in the console.
        assert all("ERR_CONNECTION_REFUSED" in text for text in opened.complaints)
        opened.complaints.clear()
