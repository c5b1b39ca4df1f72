"""The explorer without a mouse: what can be reached, seen and named, and what keeps the focus."""

from collections.abc import Iterator
from typing import Any

import pytest

from .explorer import Served, served
from .test_explore_lab import PATIENCE, Lab, link

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Of the element with the focus: its identifier, whether its mark is seen, and its name.
FOCUSED = """() => {
  const one = document.activeElement;
  const box = one.getBoundingClientRect();
  const style = getComputedStyle(one);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
    && one.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight;
  const labels = [...(one.labels ?? [])].map((label) => label.innerText).join(" ");
  return [one.id, seen, one.getAttribute("aria-label") || labels || one.innerText || ""];
}"""


@pytest.fixture(scope="module")
def explorer() -> Iterator[Served]:
    with served() as found:
        yield found


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.id"))


def tab_to(page: Any, wanted: str) -> None:
    """Presses Tab until an element of this identifier or name has the focus.

    All elements on the way are usable.
    """
    for _ in range(90):
        page.keyboard.press("Tab")
        found, is_seen, name = page.evaluate(FOCUSED)
        if page.evaluate("document.activeElement === document.body"):
            continue  # after the last element the browser's own come
        assert is_seen, page.evaluate("document.activeElement.outerHTML")
        assert name.strip(), page.evaluate("document.activeElement.outerHTML")
        if wanted in (found, name.strip()):
            return
    raise AssertionError(f"{wanted} is not reached")


def press(page: Any, wanted: str, key: str = "Enter") -> None:
    tab_to(page, wanted)
    page.keyboard.press(key)


def test_the_lab_is_used_without_a_mouse(explorer, new_page):
    lab = Lab(new_page(link(explorer)))
    page = lab.page
    lab.wait_for("forecast")
    press(page, "lab-run")
    lab.at("progress").wait_for()
    lab.at("progress").wait_for(state="hidden", timeout=PATIENCE)
    lab.wait_for("run")
    assert focused(page) == "lab-run"
    press(page, "lab-null")
    lab.wait_for("compare")
    assert focused(page) == "lab-null"
    # Values: a slider, a flag, a choice.
    press(page, "field-init_scale-slider", "ArrowRight")
    page.wait_for_url("**init_scale=1*")
    assert float(lab.control("init_scale").input_value()) > 100
    press(page, "field-task-random_labels", "Space")
    page.wait_for_url("**random_labels=true*")
    lab.wait_until_calm()
    press(page, "lab-time-log", "ArrowRight")
    page.wait_for_url("**time=linear*")
    press(page, "lab-run")
    lab.wait_for("run")
    press(page, "lab-pin")
    boxes = lab.at("runs").get_by_role("checkbox")
    assert boxes.count() == 3
    press(page, boxes.first.get_attribute("id"), "Space")
    assert not boxes.first.is_checked()
    press(page, "lab-compare")
    lab.wait_for("compare")
    assert page.get_by_role("status").first.inner_text()
    assert focused(page) == "lab-compare"
    for kind in ("toml", "python", "png"):
        with page.expect_download(timeout=PATIENCE):
            press(page, f"lab-save-{kind}")
    # The button of a listed run opens it; what was pressed keeps the focus.
    show = lab.at("runs").get_by_role("button", name="Show").first.get_attribute("id")
    press(page, show)
    lab.wait_for("run")
    assert focused(page) == show
    with page.expect_download(timeout=PATIENCE):
        press(page, "lab-save-record")
    press(page, "lab-copy-link")


def test_a_cancelled_step_of_the_tour_gives_the_focus_back(explorer, new_page):
    page = new_page(explorer.address + "#tour?story=grokking&step=1").page
    page.locator("#tour-run").wait_for(timeout=PATIENCE)
    press(page, "tour-run")
    page.locator("#tour-cancel").wait_for()
    assert focused(page) == "tour-cancel"
    page.keyboard.press("Enter")
    page.locator("#tour-cancel").wait_for(state="hidden", timeout=PATIENCE)
    assert focused(page) == "tour-run"
    press(page, "tour-next")
    page.get_by_role("heading", name="The same run on a linear time axis").wait_for()
    assert focused(page) == "tour-title"


def test_a_duplicated_tab_does_not_take_the_run_of_the_first(explorer, new_page):
    steps = '{"kind":"GradientDescent","learning_rate":1e-5}'
    lab = Lab(new_page(link(explorer, dynamics=steps, t1=1e4)))
    lab.wait_for("forecast")
    lab.at("run").click()
    lab.wait_for("run")
    # A window that a page opens has a copy of what the page keeps, as a duplicated tab has.
    with lab.page.expect_popup() as opened:
        lab.page.evaluate("void window.open(location.href)")
    other = opened.value
    other.locator("#lab-figure[data-shows=forecast][data-drawn]").wait_for(timeout=PATIENCE)
    other.wait_for_timeout(2000)
    assert other.locator("#lab-again").is_hidden()
    other.close()
    assert lab.at("progress").is_visible()
    lab.page.reload()
    lab.at("again").wait_for()
    press(lab.page, "lab-again-run")
    lab.wait_for("run")
    assert focused(lab.page) == "lab-run"
    press(lab.page, "lab-cancel")
    lab.wait_for("forecast")
    assert focused(lab.page) == "lab-run"
