"""What the Lab shows while it waits, after Back and Forward, and when it is loaded again."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .explorer import Served, Wire, served
from .test_explore_lab import PATIENCE, Lab, link

pytestmark = [pytest.mark.browser, pytest.mark.slow]


COUNTED = """
window.asked = 0;
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
    window.asked += text.includes('"job":"lab.forecast"');
    send.call(this, text);
};
"""


@pytest.fixture(scope="module")
def explorer() -> Iterator[Served]:
    with served() as found:
        yield found


@pytest.fixture
def lab(explorer: Served, new_page: Any) -> Lab:
    found = Lab(new_page(link(explorer)))
    found.wait_for("forecast")
    return found


def test_controls_come_while_a_forecast_compiles_and_keep_what_is_typed(lab):
    # The forecast of a matrix completion compiles for many seconds.
    lab.at("base").select_option("lyu2024/3")
    lab.control("task.num_observed").wait_for()
    assert lab.at("results").get_attribute("aria-busy") == "true"
    # Nothing of the experiment before is under the new title.
    assert lab.page.get_by_role("heading", name="lyu2024/3").is_visible()
    assert not lab.at("figure").is_visible()
    assert lab.words == ""
    lab.control("init_scale").fill("20")
    lab.control("task.num_observed").fill("480")
    lab.page.wait_for_url(re.compile("task.num_observed=480"))
    assert "#lab?base=lyu2024/3&init_scale=20&" in lab.page.url
    command = lab.page.locator("#lab pre").first
    command.filter(has_text="--set task.num_observed=480").wait_for()
    assert lab.at("results").get_attribute("aria-busy") == "true"
    lab.wait_for("forecast")


def test_what_is_of_earlier_values_is_marked_until_the_new_forecast(lab):
    lab.control("task.d").fill("210")  # a new size compiles
    lab.at("busy").filter(has_text="text, figure and table below are of the earlier").wait_for()
    assert "old" in lab.at("figure").get_attribute("class").split()
    lab.wait_until_calm()
    assert lab.at("busy").inner_text() == ""
    assert "old" not in lab.at("figure").get_attribute("class").split()


def test_back_and_forward_move_between_experiments_values_and_tabs(lab):
    from playwright.sync_api import expect

    page, scale = lab.page, lab.control("init_scale")
    lab.wait_until_calm()
    scale.fill("50")
    lab.control("weight_decay").fill("0.002")
    lab.at("base").select_option("lyu2024/3")
    lab.control("task.num_observed").wait_for()
    page.get_by_role("tab", name="Tour").click()
    page.go_back()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Lab")
    assert lab.at("base").input_value() == "lyu2024/3"
    page.go_back()
    lab.control("task.k").wait_for()
    expect(lab.control("weight_decay")).to_have_value("0.002")
    page.go_back()
    expect(lab.control("weight_decay")).to_have_value("0.001")
    expect(scale).to_have_value("50")
    page.go_back()
    expect(scale).to_have_value("100")
    page.go_forward()
    expect(scale).to_have_value("50")
    lab.wait_for("forecast")


def test_a_page_that_is_loaded_again_has_its_runs(lab):
    from playwright.sync_api import expect

    lab.run()
    words, listed = lab.words, lab.at("runs").locator("li").all_inner_texts()
    lab.control("init_scale").fill("30")
    lab.wait_until_calm()
    lab.run()
    lab.at("pin").click()
    lab.page.reload()
    lab.wait_for("run")
    items = lab.at("runs").locator("li")
    expect(items).to_have_count(2)
    assert items.first.inner_text() == listed[0]
    expect(items.nth(1).get_by_role("checkbox")).to_be_checked()
    items.first.get_by_role("button").click()
    lab.page.locator("#lab-words", has_text=words).wait_for(timeout=PATIENCE)


def test_a_run_that_a_reload_cancels_is_offered_again(explorer, new_page):
    steps = json.dumps({"kind": "GradientDescent", "learning_rate": 1e-5})
    lab = Lab(new_page(link(explorer, dynamics=steps, t1=1e4)))
    lab.wait_for("forecast")
    lab.at("run").click()
    lab.wait_for("run")
    lab.page.reload()
    lab.at("again").wait_for()
    words = lab.at("again").inner_text()
    assert words.startswith("The run of forecast/sparse, ")
    assert "loaded again, which has cancelled it" in words
    lab.wait_for("forecast")
    lab.at("again-run").click()
    lab.wait_for("run")
    assert lab.at("again").is_hidden()
    lab.at("cancel").click()
    lab.wait_for("forecast")
    # The user has cancelled this one.
    lab.page.reload()
    lab.wait_for("forecast")
    assert lab.at("again").is_hidden()


def test_a_window_that_changes_its_width_asks_for_one_more_forecast(explorer, new_page):
    opened = new_page("about:blank")
    opened.page.add_init_script(COUNTED)
    lab = Lab(opened)
    # A size of its own, which compiles while the window changes.
    sizes: dict[str, Any] = {"task.d": 190}
    lab.page.goto(link(explorer, **sizes))
    while not lab.page.evaluate("asked"):
        lab.page.wait_for_timeout(50)
    for width in (700, 800, 700, 900, 700):
        lab.page.set_viewport_size({"width": width, "height": 800})
        lab.page.wait_for_timeout(400)
    lab.wait_until_calm()
    assert lab.page.evaluate("asked") == 2


def test_a_value_that_is_refused_stops_runs_until_it_is_mended(lab):
    run, note = lab.at("run"), lab.at("run-note")
    box = lab.control("weight_decay")
    box.fill("-1")
    note.wait_for()
    assert run.is_disabled()
    assert lab.at("null").is_disabled()
    assert note.inner_text().startswith("Run is off: weight_decay = -1: ")
    assert run.get_attribute("aria-describedby") == "lab-run-note"
    for text in ("1e400", "-"):
        box.fill("")
        box.press_sequentially(text)
        error = lab.page.locator("#field-weight_decay-error")
        error.filter(has_text="not a number that can be used").wait_for()
        assert run.is_disabled()
        # A change of another control does not hide it.
        lab.control("seed").fill(str(len(text)))
        lab.page.wait_for_url(re.compile(f"seed={len(text)}"))
        lab.page.wait_for_timeout(500)
        assert "not a number" in note.inner_text()
    box.fill("0.002")
    note.wait_for(state="hidden")
    assert run.is_enabled()


def test_a_file_that_is_too_large_or_no_toml_is_one_line(lab, tmp_path: Path):
    file = tmp_path / "large.toml"
    file.write_text("# a comment\n" * 250_000)
    lab.wait_until_calm()
    shown = lab.words
    for text in (None, "init_scale = "):
        if text is not None:
            file.write_text(text)
        lab.at("file").set_input_files(file)
        wanted = "large.toml has 2.86 MiB" if text is None else "is not valid TOML"
        lab.at("error").filter(has_text=wanted).wait_for()
        assert "\n" not in lab.at("error").inner_text()
        # What was there stays.
        assert lab.at("base").input_value() == "forecast/sparse"
        assert lab.words == shown
        assert lab.at("run").is_enabled()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("# a comment\n" * 250_000, "large.toml has 2.86 MiB"),
        ("init_scale = ", "is not valid TOML"),
    ],
)
def test_a_forecast_that_comes_later_keeps_the_error_of_a_file(lab, tmp_path: Path, text, wanted):
    file = tmp_path / "large.toml"
    file.write_text(text)
    lab.wait_until_calm()
    lab.control("task.d").fill(str(211 + len(text) % 7))  # a new size compiles for seconds
    lab.at("busy").filter(has_text="Computing the forecast").wait_for()
    lab.at("file").set_input_files(file)
    error = lab.at("error").filter(has_text=wanted)
    error.wait_for()
    lab.wait_until_calm()
    assert error.is_visible()
    # Other values end it.
    lab.control("init_scale").fill("90")
    error.wait_for(state="hidden")


def test_a_long_text_is_in_the_tab_and_a_long_name_is_cut(lab, tmp_path: Path):
    file = tmp_path / "mine.toml"
    name = "long" * 1250
    text = f'name = "{name}"\ninit_scale = 100.0\n# {"x" * 20_000}\n'
    file.write_text(
        text + '[task]\nkind = "SparseClassification"\nn = 24\nd = 200\nnum_test = 200\n'
    )
    lab.at("file").set_input_files(file)
    title = lab.page.locator("#lab h2").filter(has_text=re.compile("^(long)+lon…$"))
    title.wait_for(timeout=PATIENCE)
    lab.wait_for("forecast")
    assert not lab.opened.is_cut()
    assert len(lab.page.url) < 2000
    lab.page.reload()
    title.wait_for(timeout=PATIENCE)
    lab.wait_for("forecast")
    lab.run()
    assert not lab.opened.is_cut()


def test_a_figure_that_is_there_fits_a_screen_that_becomes_narrow(lab):
    box = lab.at("figure").bounding_box()
    lab.page.set_viewport_size({"width": 390, "height": 844})
    left = "() => new Set([...document.querySelectorAll('#lab-figure .xtitle')]"
    left += ".map((title) => Math.round(title.getBoundingClientRect().x))).size"
    for _ in range(100):
        found = lab.at("figure").bounding_box()
        if found["height"] > box["height"] + 100 and lab.page.evaluate(left) == 1:
            break
        lab.page.wait_for_timeout(100)
    # Panels below each other, as high as before.
    assert found["height"] > box["height"] + 100
    assert lab.page.evaluate(left) == 1
    assert not lab.opened.is_cut()


def test_curves_are_hidden_by_keyboard_and_the_figure_is_saved(lab, tmp_path: Path):
    from playwright.sync_api import expect

    page = lab.page
    lab.wait_until_calm()
    page.get_by_text("Show or hide curves").focus()
    page.keyboard.press("Enter")
    box = page.get_by_role("checkbox", name="test, kernel flow", exact=True)
    lines = page.locator("#lab-figure .scatterlayer .trace")
    before = lines.count()
    box.focus()
    page.keyboard.press("Space")
    expect(lines).not_to_have_count(before)
    fewer = lines.count()
    assert fewer < before
    # What is hidden stays hidden while values change.
    lab.control("init_scale").fill("90")
    lab.wait_until_calm()
    expect(box).not_to_be_checked()
    expect(lines).to_have_count(fewer)
    box.focus()
    page.keyboard.press("Space")
    expect(lines).to_have_count(before)
    # Plotly's own button, under the policy of the page.
    lab.at("figure").hover()
    with page.expect_download() as saved:
        page.locator("#lab-figure .modebar-btn[data-title^='Download']").click()
    file = tmp_path / "figure.png"
    saved.value.save_as(file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_what_is_said_of_an_action_ends_with_the_next(lab):
    from playwright.sync_api import expect

    with lab.page.expect_download():
        lab.at("save-toml").click()
    status = lab.page.get_by_role("status").first
    expect(status).to_have_text("Saved forecast-sparse.toml.")
    lab.control("seed").fill("1")
    expect(status).to_have_text("")
    with lab.page.expect_download():
        lab.at("save-toml").click()
    expect(status).to_have_text("Saved forecast-sparse.toml.")
    lab.page.locator("#tab-lab").focus()
    lab.page.keyboard.press("ArrowRight")
    expect(status).to_have_text("")


def test_an_address_that_cannot_be_used_leaves_every_choice(explorer, new_page):
    from playwright.sync_api import expect

    for state in ("base=nothing", "text=absent-20000"):
        lab = Lab(new_page(f"{explorer.address}#lab?{state}"))
        lab.at("error").wait_for(timeout=PATIENCE)
        assert lab.at("run").is_disabled()
        lab.at("base").select_option("forecast/sparse")
        lab.control("task.k").wait_for()
        expect(lab.at("error")).to_be_hidden()
        expect(lab.at("run")).to_be_enabled()


@pytest.fixture
def wired(explorer: Served, new_page: Any) -> tuple[Lab, Wire]:
    """The Lab, and its socket."""
    opened = new_page("about:blank")
    wire, lab = Wire(opened.page), Lab(opened)
    opened.page.goto(link(explorer))
    lab.wait_for("forecast")
    lab.wait_until_calm()
    return lab, wire


def test_an_older_forecast_does_not_end_what_is_said_of_a_new_experiment(wired):
    from playwright.sync_api import expect

    lab, wire = wired
    wire.hold("lab.forecast")
    wire.hold("lab.describe")
    lab.control("init_scale").fill("90")
    lab.at("base").select_option("lyu2024/3")
    busy = lab.at("busy")
    expect(busy).to_have_text("Reading the experiment.")
    wire.let("lab.forecast")
    expect(lab.at("results")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)
    expect(busy).to_have_text("Reading the experiment.")
    wire.let("lab.describe")
    lab.control("task.num_observed").wait_for()
    expect(busy).not_to_have_text("Reading the experiment.")


def test_controls_that_come_late_leave_what_is_typed(wired):
    from playwright.sync_api import expect

    lab, wire = wired
    wire.hold("lab.describe")
    lab.page.locator("#lab fieldset summary", has_text="More").click()
    lab.control("model.depth").fill("3")  # the choices of the model change
    lab.control("t1").fill("")
    name = lab.control("name")
    name.press("End")
    name.press_sequentially(" of mine")
    wire.let("lab.describe")
    expect(lab.page.locator("#lab pre").first).to_contain_text("--set model.depth=3")
    expect(name).to_have_value("forecast/sparse of mine")
    expect(name).to_be_focused()
    expect(lab.control("t1")).to_have_value("")
    expect(lab.page.locator("#field-t1-error")).to_have_text("t1: a number is missing")


def test_the_error_of_a_run_of_other_values_is_beside_none_of_them(wired):
    from playwright.sync_api import expect

    lab, wire = wired
    wire.fail("lab.run", "init_scale = 100: is refused")
    wire.hold("lab.run")
    lab.at("run").click()
    lab.control("init_scale").fill("90")
    lab.wait_until_calm()
    wire.let("lab.run")
    error = lab.at("error")
    expect(error).to_contain_text("init_scale = 100: is refused")
    expect(error).to_contain_text("forecast/sparse, ")
    expect(lab.page.locator("[aria-invalid]")).to_have_count(0)
    # The error of the values that are there is beside them.
    lab.control("init_scale").fill("100")
    expect(error).to_be_hidden()
    lab.at("run").click()
    expect(lab.page.locator("#field-init_scale-error")).to_contain_text("is refused")
    expect(lab.control("init_scale")).to_have_attribute("aria-invalid", "true")


def test_a_comparison_stays_when_an_older_forecast_comes(wired):
    from playwright.sync_api import expect

    lab, wire = wired
    for scale in ("60", "70"):
        lab.control("init_scale").fill(scale)
        lab.wait_until_calm()
        lab.run()
        lab.at("pin").click()
    wire.hold("lab.forecast")
    lab.control("init_scale").fill("60")
    lab.at("busy").filter(has_text="Computing the forecast").wait_for()
    lab.at("compare").click()
    lab.wait_for("compare")
    words = lab.words
    wire.let("lab.forecast")
    lab.wait_until_calm()
    expect(lab.at("figure")).to_have_attribute("data-shows", "compare")
    assert lab.words == words


def test_what_was_asked_when_the_connection_went_is_answered_by_the_next(wired):
    from playwright.sync_api import expect

    lab, wire = wired
    wire.hold("lab.forecast")
    wire.hold("lab.describe")
    lab.control("weight_decay").fill("0.002")
    lab.at("busy").filter(has_text="Computing the forecast").wait_for()
    wire.cut()
    wire.let("lab.forecast")
    wire.let("lab.describe")
    lab.wait_until_calm()
    expect(lab.at("words")).to_contain_text("(1/λ) log α = 2,300")
    expect(lab.page.locator("#lab pre").first).to_contain_text("--set weight_decay=0.002")
    expect(lab.at("error")).to_be_hidden()


def test_a_page_of_the_tour_that_is_left_and_turned_back_to_keeps_its_new_run(explorer, new_page):
    from playwright.sync_api import expect

    page = new_page("about:blank").page
    wire = Wire(page)
    page.goto(explorer.address + "#tour?story=grokking&step=1")
    run, cancel = page.locator("#tour-run"), page.locator("#tour-cancel")
    run.click(timeout=PATIENCE)
    cancel.wait_for()
    wire.hold("lab.run")
    page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    run.click()
    cancel.wait_for()
    while ("lab.run", "cancelled") not in wire.heard:
        page.wait_for_timeout(50)
    wire.let("lab.run")
    page.wait_for_timeout(300)
    expect(run).to_be_disabled()
    cancel.click()
    expect(run).to_be_enabled(timeout=PATIENCE)
