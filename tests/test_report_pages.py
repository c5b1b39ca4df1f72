"""Reports in a browser, from disk and without a network."""

import shutil
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import lazyrich as lr
from lazyrich.plot import write_study, write_sweeps
from lazyrich.plot.description import Axis, Figure, Panel

from .helpers import html_faults

pytestmark = [pytest.mark.browser, pytest.mark.slow]


# Single runs of a classification and of a regression, and a family along a key. The other panels
# have figures of the same kinds; all of them take minutes.
_PANELS = ("1a", "3", "B.2")
# Sizes at which a run takes a moment, by the kind of the task.
_SMALL: dict[str, dict[str, Any]] = {
    "SparseClassification": {"task.n": 16, "task.d": 60, "task.num_test": 50},
    "MatrixCompletion": {"task.d": 8, "task.num_observed": 40, "model.size": 8},
    "SparseRegression": {"task.n": 16, "task.d": 60, "task.num_test": 50},
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The report of panels of lyu2024 in the quick preset, at small sizes and of one seed."""
    folder: Path = tmp_path_factory.mktemp("study")
    (folder / "lyu2024").mkdir()
    library = Path(str(files("lazyrich.studies") / "lyu2024"))
    for file in library.glob("*.csv"):
        shutil.copy(file, folder / "lyu2024")
    for file in (library / f"{name}.toml" for name in _PANELS):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        table.pop("forecast", None)  # takes most of the time
        quick = table.setdefault("quick", {})
        quick["t1"] = 0.1 * quick.get("t1", table["t1"])
        quick |= _SMALL[table["task"]["kind"]]
        over = quick.setdefault("over", dict(table.get("over", {})))
        for key in over:
            if key == "seed":
                over[key] = [0]
            elif "seed" in key:
                over[key] = over[key][:1]
        (folder / "lyu2024" / file.name).write_text(tomli_w.dumps(table), encoding="utf-8")
    results = lr.reproduce(folder / "lyu2024", folder / "store", preset="quick", workers=0)
    write_study("lyu2024", "quick", results, folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def large_map(tmp_path_factory) -> Path:
    """The report of a store with 20 x 20 cells."""
    folder: Path = tmp_path_factory.mktemp("map")
    experiment = lr.Experiment(
        name="map",
        task=lr.tasks.SparseClassification(n=12, d=40, k=1, num_test=60),
        t1=300.0,
        times=lr.dynamics.Times(num_log=40, num_linear=10),
    )
    over: Any = {
        "init_scale": np.geomspace(0.1, 300, 20).tolist(),
        "weight_decay": np.geomspace(3e-3, 1e-1, 20).tolist(),
    }
    lr.sweep(experiment, over, folder / "store", workers=0)
    write_sweeps("map", lr.studies.sweeps_of(folder / "store"), folder / "report.html")
    return folder / "report.html"


def shown(new_page, report: Path, size: str) -> Any:
    """The page with every figure drawn; it is not cut, and it can be read by everyone."""
    from playwright.sync_api import expect

    opened = new_page(report.as_uri(), size, offline=True)
    page = opened.page
    total = page.locator("figure").count()
    expect(page.locator("figure[data-views]")).to_have_count(total)
    expect(page.locator("figure.on")).to_have_count(total, timeout=120_000)
    for figure in page.locator("figure").all():
        figure.locator(".main-svg").first.wait_for(timeout=120_000)
    assert not opened.is_cut()
    assert opened.findings() == []
    return page


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_a_study_opens_from_disk_with_every_panel(study, new_page, size):
    assert not html_faults(study.read_text(encoding="utf-8"))
    page = shown(new_page, study, size)
    names = list(_PANELS)
    headings = page.locator("h2").all_inner_texts()
    assert [text for text in headings if text in names] == names
    for number, name in enumerate(names, 1):
        # The first figure of a panel is between its heading and the next one.
        figure = page.locator(f"#panel-{number} ~ figure").first
        assert figure.locator("path.js-line").count() > 0, name
    # Labels above a panel do not touch.
    overlaps = page.evaluate(
        """[...document.querySelectorAll('figure')].flatMap((figure) => {
          const boxes = [...figure.querySelectorAll('.annotation-text')]
            .map((text) => text.getBoundingClientRect());
          return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
            a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
        }).length"""
    )
    assert overlaps == 0
    # Another scale of time has curves as well.
    first = page.locator("figure").first
    first.get_by_label("linear", exact=True).check()
    first.locator("path.js-line").first.wait_for(state="attached")


def test_what_is_folded_is_open_on_paper(tmp_path, new_page):
    times = np.geomspace(0.1, 100.0, 40)
    curves = {"train_loss": 1 / (1 + times), "test_loss": 1 / (1 + 0.1 * times)}
    lr.report(lr.record(times, curves), tmp_path / "report.html")
    page = new_page((tmp_path / "report.html").as_uri()).page
    count = "document.querySelectorAll('details[open]').length"
    total = page.locator("details").count()
    assert total > 0
    page.locator("details summary").first.click()
    page.evaluate(f"addEventListener('beforeprint', () => (window.unfolded = {count}))")
    page.pdf()
    assert page.evaluate("unfolded") == total
    # What was open before stays so.
    assert page.evaluate(count) == 1


def test_a_map_of_400_cells_is_small_and_opens_from_disk(large_map, new_page):
    assert large_map.stat().st_size < 20e6
    page = shown(new_page, large_map, "wide")
    assert "400 runs over" in page.locator("main").inner_text()
    # All cells of the outcomes' heat maps together.
    cells = page.evaluate(
        "JSON.parse(document.querySelector('script[type=\"application/json\"]').textContent).all"
        ".data.filter((t) => t.type === 'heatmap' && t.yaxis === 'y')"
        ".flatMap((t) => t.z.flat()).filter((z) => z !== null).length"
    )
    assert cells == 400


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (8.0, 130.0, ["10", "20", "50", "100"]),
        (0.002, 0.05, ["0.002", "0.005", "0.01", "0.02", "0.05"]),
    ],
)
def test_labels_between_powers_of_ten_are_whole_numbers(new_page, low, high, labels):
    axes = {"x": Axis("x", low, high, "log"), "y": Axis("y", 0.0, 1.0)}
    found = lr.plot.plotly(Figure((Panel("panel", axes["x"], axes["y"]),), "caption"))
    page = new_page("about:blank").page
    page.set_content("<div id=figure></div>")
    page.add_script_tag(content=files("plotly").joinpath("package_data/plotly.min.js").read_text())
    page.evaluate("f => Plotly.newPlot('figure', [{x: [1], y: [1]}], f.layout)", found)
    texts = page.locator(".xtick").all_text_contents()
    assert [text for text in texts if text] == labels
