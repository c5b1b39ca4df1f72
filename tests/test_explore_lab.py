"""The Lab in a browser, from the first forecast to a file that is saved."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lazyrich as lr

from .explorer import Served, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SMALL = {"task.n": 24, "task.d": 200, "task.num_test": 200, "init_scale": 100}
PATIENCE = 240_000  # ms, most of which a compiler takes


@pytest.fixture(scope="module")
def explorer() -> Iterator[Served]:
    with served() as found:
        yield found


def link(explorer: Served, base: str = "forecast/sparse", **changes: Any) -> str:
    pairs = {"base": base, **SMALL, **changes}
    return f"{explorer.address}#lab?" + "&".join(f"{key}={value}" for key, value in pairs.items())


class Lab:
    """The Lab as a page shows it."""

    def __init__(self, opened: Any):
        self.opened, self.page = opened, opened.page

    def at(self, name: str) -> Any:
        return self.page.locator(f"#lab-{name}")

    def control(self, key: str) -> Any:
        return self.page.locator("#field-" + key.replace(".", "-"))

    def wait_for(self, shows: str) -> None:
        """Waits until the figure shows a forecast, a run or a comparison of the state."""
        self.page.locator(f"#lab-figure[data-shows={shows}][data-drawn]").wait_for(timeout=PATIENCE)

    def wait_until_calm(self) -> None:
        """Waits until the forecast of the last change is there and drawn."""
        from playwright.sync_api import expect

        expect(self.at("results")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)
        self.page.wait_for_timeout(500)

    def wait_for_curve(self, name: re.Pattern[str] | str) -> None:
        """Waits until the figure that is drawn has a curve of this name in its key."""
        found = self.page.locator("#lab-figure .legendtext").filter(has_text=name).first
        found.wait_for(timeout=PATIENCE)

    @property
    def words(self) -> str:
        return str(self.at("words").inner_text())

    def run(self) -> None:
        self.at("run").click()
        self.at("progress").wait_for(state="hidden", timeout=PATIENCE)
        self.wait_for("run")


@pytest.fixture
def lab(explorer: Served, new_page: Any) -> Lab:
    found = Lab(new_page(link(explorer)))
    found.wait_for("forecast")
    return found


def test_the_forecast_follows_a_slider_moved_by_the_keyboard(lab, explorer, new_page):
    experiment = lr.studies.load("forecast/sparse").with_changes(SMALL)
    said = lr.forecast(experiment, thresholds=lr.studies.thresholds("forecast/sparse"))
    lab.wait_until_calm()
    assert lab.words.startswith("Grokking is forecast")
    assert f"{said.t50:,.0f}"[:3] in lab.page.locator("#lab-facts").inner_text()
    before = lab.words
    slider = lab.control("init_scale-slider")
    slider.focus()
    lab.page.keyboard.press("PageUp")
    lab.wait_until_calm()
    assert lab.words != before
    value = float(lab.control("init_scale").input_value())
    assert value > 100
    assert f"init_scale={value:g}" in lab.page.url
    assert slider.get_attribute("aria-valuetext") == f"{value:g}"
    # The link restores what was shown.
    lab.wait_until_calm()
    other = Lab(new_page(lab.page.url))
    other.wait_for("forecast")
    other.wait_until_calm()  # the forecast by the constant is shown before the solved one
    assert other.words == lab.words
    assert float(other.control("init_scale").input_value()) == value


def test_runs_stream_over_the_forecast_are_pinned_and_compared(lab):
    lab.run()
    assert "“grokked”" in lab.words
    facts = lab.at("facts").inner_text()
    assert "grokked" in facts
    assert "grok" in facts
    lab.wait_for_curve("kernel phase ends, forecast")
    lab.at("pin").click()
    lab.control("init_scale").fill("30")
    lab.wait_for("forecast")
    lab.run()
    lab.at("pin").click()
    assert lab.at("compare").inner_text() == "Compare 2 runs"
    lab.at("compare").click()
    lab.wait_for("compare")
    lab.wait_for_curve(re.compile("^α = 30"))
    lab.page.get_by_role("radio", name="linear").check()
    assert "time=linear" in lab.page.url


def test_the_null_control_is_one_click(lab):
    lab.at("null").click()
    lab.wait_for("compare")
    assert lab.words.startswith("Null control: the outcome is “grokked”, with random labels “")
    assert "learned from the labels" in lab.words
    for name in ("true labels", "random labels"):
        lab.wait_for_curve(name)
    # Where the task has no random labels the page says so.
    lab.at("base").select_option("lyu2024/3")
    note = lab.page.locator("#lab-null-note").filter(has_text="MatrixCompletion has no version")
    note.wait_for(timeout=PATIENCE)
    assert lab.at("null").is_disabled()


def test_a_run_is_cancelled(explorer, new_page):
    steps = json.dumps({"kind": "GradientDescent", "learning_rate": 1e-5})
    lab = Lab(new_page(link(explorer, dynamics=steps, t1=1e4)))
    lab.wait_for("forecast")
    assert "steps takes about" in lab.at("size").inner_text()
    lab.at("run").click()
    lab.wait_for("run")
    lab.at("cancel").click()
    lab.page.get_by_role("status").filter(has_text="The run was cancelled.").wait_for()
    lab.wait_for("forecast")
    assert lab.at("runs").is_hidden()
    assert lab.at("run").is_enabled()


def test_a_value_out_of_range_has_its_error_beside_it(lab):
    box = lab.control("weight_decay")
    box.fill("-1")
    error = lab.page.locator("#field-weight_decay-error")
    error.wait_for()
    assert error.inner_text().startswith("weight_decay = -1: ")
    assert box.get_attribute("aria-invalid") == "true"
    assert "field-weight_decay-error" in box.get_attribute("aria-describedby")
    box.fill("0.002")
    error.wait_for(state="hidden")
    assert box.get_attribute("aria-invalid") is None
    lab.wait_until_calm()
    assert "(1/λ) log α = 2,300" in lab.words


def test_ten_changes_a_second_end_with_the_last_one(lab):
    lab.wait_until_calm()
    values = lab.page.evaluate(
        """async () => {
          const slider = document.getElementById("field-init_scale-slider");
          const box = document.getElementById("field-init_scale");
          for (let place = 100; place < 140; place++) {
            slider.value = place;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
          return Number(box.value);
        }"""
    )
    lab.wait_until_calm()
    experiment = lr.studies.load("forecast/sparse").with_changes({**SMALL, "init_scale": values})
    textbook = lr.forecast(experiment, passage="calibrated").textbook
    assert f"(1/λ) log α = {float(f'{textbook:.3g}'):,.10g}" in lab.words
    # Nothing is left to compute: a new question is answered at once.
    drawn = [lab.at("figure").get_attribute("data-drawn")]
    while len(drawn) < 2 or (len(drawn) < 20 and drawn[-1] != drawn[-2]):
        lab.page.wait_for_timeout(1000)
        drawn.append(lab.at("figure").get_attribute("data-drawn"))
    # On a slow machine the last figure is still being drawn when its answer is there.
    assert int(drawn[-1]) - int(drawn[0]) <= 1


def test_what_is_saved_makes_the_same_experiment(lab, tmp_path: Path):
    from playwright.sync_api import expect

    lab.control("init_scale").fill("50")
    lab.wait_until_calm()
    wanted = lr.studies.load("forecast/sparse").with_changes({**SMALL, "init_scale": 50.0})
    with lab.page.expect_download() as saved:
        lab.at("save-toml").click()
    file = tmp_path / "saved.toml"
    saved.value.save_as(file)
    assert lr.Experiment.load(file).content_hash == wanted.content_hash
    expect(lab.page.locator("#lab pre").first).to_contain_text("--set init_scale=50")
    for what in ("record", "report"):
        assert lab.at(f"save-{what}").is_disabled()
    with lab.page.expect_download(timeout=PATIENCE) as saved:
        lab.at("save-png").click()
    assert saved.value.suggested_filename == "forecast-sparse.png"


HOSTILE = """
name = "<img src=x onerror=alert(1)>"
init_scale = 100.0
weight_decay = 1e-3
[task]
kind = "SparseClassification"
n = 24
d = 200
num_test = 200
"""


def test_a_file_of_the_user_is_text_and_names_no_other_file(lab, tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(HOSTILE)
    lab.at("file").set_input_files(file)
    title = lab.page.get_by_role("heading", name="<img src=x onerror=alert(1)>")
    title.wait_for(timeout=PATIENCE)
    lab.wait_until_calm()
    assert lab.page.locator("#lab img").count() == 0
    assert re.search(r"#lab\?toml=", lab.page.url)
    file.write_text('[task]\npath = "/etc/passwd"\n')
    lab.at("file").set_input_files(file)
    error = lab.page.locator("#lab .error:visible").first
    error.wait_for()
    assert "start lazyrich explore FILE.toml" in error.inner_text()


@pytest.mark.parametrize("size", ["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_lab_is_accessible_and_fits(explorer, new_page, size, scheme):
    lab = Lab(new_page(link(explorer), size, color_scheme=scheme))
    lab.wait_for("forecast")
    lab.run()
    if size == "narrow":
        assert lab.at("fold").get_attribute("open") is None
        lab.at("fold").locator("summary").first.click()
    assert lab.opened.findings() == []
    assert not lab.opened.is_cut()
