"""Map, Inside and Tour in a browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lazyrich as lr

from .explorer import Served, Wire, served
from .test_explore_keyboard import FOCUSED, focused, press

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The first answer of a job compiles; other work on the machine makes that longer.
PATIENCE = 180_000


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store of eight runs, of which two are missing."""
    folder: Path = tmp_path_factory.mktemp("explored") / "store"
    experiment = lr.Experiment(
        name="tiny",
        task=lr.tasks.SparseClassification(n=16, d=60, k=1, num_test=60),
        t1=600.0,
        times=lr.dynamics.Times(num_log=40, num_linear=10),
    )
    over: Any = {"init_scale": [1.0, 100.0], "weight_decay": [1e-2, 3e-2], "seed": [0, 1]}
    lr.sweep(experiment, over, folder, workers=0, batch_size=2)
    sorted((folder / "batches").iterdir())[-1].unlink()
    return folder


@pytest.fixture(scope="module")
def explorer(store) -> Iterator[Served]:
    with served(store) as found:
        yield found


def drawn(page, place):
    """Waits until a figure is drawn in an element."""
    page.locator(f"{place} .main-svg").first.wait_for(timeout=PATIENCE)


def until(page, expression, accepts):
    """Waits until the page's value is accepted; Playwright's own way evaluates text in the page."""
    for _ in range(300):
        if accepts(page.evaluate(expression)):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{expression} is {page.evaluate(expression)}")


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_a_cell_is_chosen_by_keyboard_and_its_run_opened(explorer, new_page, size, scheme):
    opened = new_page(explorer.address + "#map", size, color_scheme=scheme)
    page = opened.page
    drawn(page, "#map-figure")
    page.locator("#map-cells").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    where = page.get_by_role("heading", name="initial scale α = 100, weight decay λ = 0.01")
    where.wait_for()
    drawn(page, "#map-curve")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("The run at initial scale α = 100")).wait_for()
    drawn(page, "#map-run-figure")
    assert opened.findings() == []
    assert not opened.is_cut()
    # A copy of the address shows the run again.
    link = page.url
    assert "run=" in link
    again = new_page(link).page
    again.get_by_role("heading", name=re.compile("The run at initial scale α = 100")).wait_for(
        timeout=PATIENCE
    )


def test_a_cell_is_opened_with_a_click_and_the_colour_changes(explorer, new_page):
    page = new_page(explorer.address + "#map").page
    drawn(page, "#map-figure")
    box = page.locator("#map-figure .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.3)
    page.get_by_role("heading", name=re.compile("initial scale α = 100")).first.wait_for()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.3)
    page.get_by_role("heading", name=re.compile("The run at initial scale α = 100")).wait_for()
    page.get_by_label("Colour", exact=True).select_option("t50")
    page.locator("#map-figure").get_by_text("median half time t50").wait_for()
    page.get_by_label("seed", exact=True).select_option("1")
    page.get_by_text("Runs with seed = 1.").wait_for()
    assert "at.seed=1" in page.url


def test_the_menus_of_the_map_are_used_by_keyboard(explorer, new_page):
    page = new_page(explorer.address + "#map").page
    drawn(page, "#map-figure")
    press(page, "Colour", "ArrowDown")
    page.wait_for_url("**colour=delay*")
    page.locator("#map-figure").get_by_text("median delay t_test / t_train").wait_for()
    press(page, "Across", "ArrowDown")
    page.wait_for_url("**x=weight_decay*")
    # The other key takes its place, and the menu keeps the focus.
    assert "y=init_scale" in page.url
    until(page, FOCUSED, lambda value: value[1:] == [True, "Across"])
    until(
        page,
        "document.querySelector('#map-cells').getAttribute('aria-label')",
        lambda value: value.startswith("Phase diagram over weight decay λ and initial scale α."),
    )
    press(page, "seed", "ArrowDown")
    page.get_by_text("Runs with seed = 0.").wait_for()
    press(page, "map-cells", "ArrowRight")
    for key in ("ArrowUp", "Enter", "ArrowUp"):
        page.keyboard.press(key)
    # The last key stays in the cell, whose run is opened all the same.
    where = "weight decay λ = 0.01, initial scale α = 100"
    page.get_by_role("heading", name=where, exact=True).wait_for()
    title = "The run at initial scale α = 100, weight decay λ = 0.01, seed = 0"
    page.get_by_role("heading", name=title).wait_for(timeout=PATIENCE)
    until(page, "document.activeElement.tagName", lambda value: value == "H3")


def background(page, selector):
    """The colour behind an element of a figure: that of the figure, or of its axes."""
    return page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).fill")


def test_a_map_in_the_dark_is_dark_around_its_cells(explorer, new_page):
    opened = new_page(explorer.address + "#map", color_scheme="dark")
    page = opened.page
    drawn(page, "#map-figure")
    paper = page.evaluate("document.querySelector('#map-figure .main-svg').style.background")
    assert paper == "rgb(20, 20, 20)"
    # Where no cell is shown, missing runs are white, as in the key.
    assert background(page, "#map-figure .bg") == "rgb(255, 255, 255)"
    # Every part of the map is in the key, as are the numbers of runs above it.
    named = [text.lower() for text in page.locator("#map-key li").all_inner_texts()]
    assert any("grokked" in text for text in named)
    assert any("boundary" in text for text in named)
    assert re.search(r"\d runs: .*grokked", page.locator("#map-missing").inner_text())
    # The mark of the chosen cell stays when the colours change.
    page.locator("#map-cells").focus()
    page.keyboard.press("ArrowRight")
    marks = "document.querySelectorAll('#map-figure .shapelayer path').length"
    until(page, marks, lambda value: value == 1)
    page.emulate_media(color_scheme="light")
    until(
        page,
        "document.querySelector('#map-figure .main-svg').style.background",
        lambda value: value == "rgb(255, 255, 255)",
    )
    assert page.evaluate(marks) == 1


def test_answers_that_come_late_take_nothing_from_the_map(explorer, new_page):
    from playwright.sync_api import expect

    page = new_page("about:blank").page
    wire = Wire(page)
    page.goto(explorer.address + "#map")
    drawn(page, "#map-figure")
    # The second menu is changed before the answer to the first.
    wire.hold("map.figure")
    page.get_by_label("Across", exact=True).select_option("weight_decay")
    page.get_by_label("Up", exact=True).select_option("seed")
    wire.let("map.figure")
    page.wait_for_url("**x=weight_decay*")
    assert "y=seed" in page.url
    expect(page.locator("#map-cells")).to_have_attribute(
        "aria-label", re.compile("over weight decay λ and seed")
    )
    expect(page.get_by_label("Across", exact=True)).to_have_value("weight_decay")
    # A run that is opened does not take the focus from the menu in use.
    wire.hold("map.run")
    page.locator("#map-cells").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name=re.compile("grokked|immediate|gradual")).first.wait_for()
    page.keyboard.press("Enter")
    page.get_by_label("Colour", exact=True).focus()
    wire.let("map.run")
    page.get_by_role("heading", name=re.compile("^The run at ")).wait_for()
    expect(page.get_by_label("Colour", exact=True)).to_be_focused()
    # The error of a run is there while cells are chosen.
    wire.fail("map.run", "its record is gone")
    page.locator("#map-cells").focus()
    page.keyboard.press("Enter")
    error = page.locator("#map [role=alert]")
    expect(error).to_have_text("its record is gone")
    page.keyboard.press("ArrowUp")
    drawn(page, "#map-curve")
    expect(error).to_be_visible()


def test_the_error_of_started_runs_stays(explorer, new_page):
    from playwright.sync_api import expect

    page = new_page("about:blank").page
    wire = Wire(page)
    wire.fail("map.start", "the disk is full")
    page.goto(explorer.address + "#map")
    page.get_by_role("button", name="Start the missing runs").click(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Start the missing runs")).to_be_visible()
    drawn(page, "#map-figure")
    page.wait_for_timeout(300)
    error = page.locator("#map [role=alert]")
    expect(error).to_have_text("the disk is full")
    expect(error).to_be_visible()


def test_missing_runs_are_started_by_keyboard(explorer, new_page, store):
    from playwright.sync_api import expect

    page = new_page(explorer.address + "#map").page
    page.get_by_text("2 of 8 runs are missing.").wait_for(timeout=PATIENCE)
    drawn(page, "#map-figure")
    press(page, "Start the missing runs")
    # The button is gone: its place is taken by the one that cancels.
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.get_by_role("status").get_by_text("All runs are done.").wait_for(timeout=PATIENCE)
    expect(page.get_by_text("are missing")).to_have_count(0)
    # Then by the map, whose cells are all there.
    assert focused(page) == "map-cells"
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    title = "The run at initial scale α = 100, weight decay λ = 0.03, seed = 0"
    page.get_by_role("heading", name=title).wait_for(timeout=PATIENCE)
    assert (lr.open_store(store)["outcome"] != "missing").all()


def test_a_run_is_recorded_while_another_view_is_shown(explorer, new_page):
    from playwright.sync_api import expect

    page = new_page("about:blank").page
    wire = Wire(page)
    wire.fail("inside.record", "the disk is full")
    wire.hold("inside.record")
    page.goto(explorer.address + "#inside?cell=4")
    page.get_by_role("button", name="Repeat and record").click(timeout=PATIENCE)
    cancel = page.locator("#inside").get_by_role("button", name="Cancel")
    expect(cancel).to_be_focused()
    page.get_by_role("tab", name="Tour").click()
    page.get_by_role("tab", name="Inside").click()
    while wire.heard.count(("inside.list", "done")) < 2:
        page.wait_for_timeout(50)
    page.wait_for_timeout(500)
    expect(cancel).to_be_visible()
    wire.let("inside.record")
    expect(page.locator("#inside [role=alert]")).to_have_text("the disk is full")
    expect(page.get_by_role("button", name="Repeat and record")).to_be_visible()


def test_time_is_moved_and_the_weights_follow(explorer, new_page):
    opened = new_page(explorer.address + "#inside?cell=4")
    page = opened.page
    page.get_by_role("button", name="Repeat and record").click(timeout=PATIENCE)
    drawn(page, "[data-view=weights]")
    slider = page.get_by_role("slider", name="Time")
    shown = "document.querySelector('[data-view=weights] .js-plotly-plot').data[0].y.slice(0, 3)"
    first = page.evaluate(shown)
    slider.focus()
    page.keyboard.press("End")
    until(page, shown, lambda value: value != first)
    assert page.locator("#inside-shown").inner_text() == "t = 600"
    # At the end the rule's one coordinate has nearly all of the direction.
    assert abs(page.evaluate(shown)[0]) > 0.8
    page.keyboard.press("Home")
    page.get_by_role("button", name="Play").click()
    until(page, "Number(document.getElementById('inside-time').value)", lambda value: value > 5)
    page.get_by_role("button", name="Pause").click()
    assert opened.findings() == []
    assert not opened.is_cut()
    # A window that becomes narrow has figures that are as narrow.
    page.set_viewport_size({"width": 390, "height": 844})
    widest = (
        "Math.max(...[...document.querySelectorAll('#inside .main-svg')]"
        ".map((svg) => svg.getBoundingClientRect().right))"
    )
    until(page, widest, lambda value: value <= 390)
    assert not opened.is_cut()


def test_pages_of_the_tour_are_turned_by_keyboard(explorer, new_page):
    opened = new_page(explorer.address + "#tour", "narrow")
    page = opened.page
    page.get_by_role("heading", name="Fitted at once, right much later").wait_for(timeout=PATIENCE)
    assert opened.findings() == []
    assert not opened.is_cut()
    page.keyboard.press("PageDown")
    page.get_by_role("heading", name="The same run on a linear time axis").wait_for()
    assert page.url.endswith("#tour?story=grokking&step=2")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="Two solutions fit the same data").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("heading", name="A small start has no delay").wait_for()
    page.reload()
    page.get_by_role("heading", name="A small start has no delay").wait_for(timeout=PATIENCE)


def test_a_step_of_the_tour_is_run_and_measured(explorer, new_page):
    opened = new_page(explorer.address + "#tour?story=grokking&step=1")
    page = opened.page
    page.get_by_role("button", name="Run this").click(timeout=PATIENCE)
    drawn(page, "#tour-figure")
    page.get_by_role("status").get_by_text("All numbers are as expected.").wait_for(
        timeout=PATIENCE
    )
    assert page.locator("#tour-claims").get_by_text("✓").count() == 4
    assert opened.findings() == []
    page.get_by_role("button", name="Open in the Lab").click()
    assert page.get_by_role("tab", selected=True).inner_text() == "Lab"
    assert "base=lyu2024/1a" in page.url
    assert "task.d=1000" in page.url


def test_without_a_store_the_page_says_what_to_do(new_page):
    with served() as alone:
        opened = new_page(alone.address + "#map")
        page = opened.page
        page.get_by_text("lazyrich explore map").wait_for(timeout=PATIENCE)
        assert opened.findings() == []
        page.get_by_role("tab", name="Inside").click()
        page.get_by_text("Here are the weights of a run over time").wait_for(timeout=PATIENCE)
