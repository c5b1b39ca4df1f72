"""What is made again from disk: a record's page, a run's, a store's; and logs of other programs."""

import base64
import gzip
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich.sweeps._store import Store

from .explorer import CHROMIUM
from .helpers import call_command, html_faults

NAME = "<img src=x onerror=alert(1)>"


def tiny(**changes: Any) -> lr.Experiment:
    task = lr.tasks.SparseClassification(n=16, d=60, k=1, num_test=50)
    times = lr.dynamics.Times(num_log=20, num_linear=5)
    fields: dict[str, Any] = {
        "task": task,
        "weight_decay": 1e-2,
        "t1": 300.0,
        "times": times,
        "name": NAME,
    }
    return lr.Experiment(**(fields | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder, as `lazyrich run` leaves it but for page and figures."""
    place = tmp_path_factory.mktemp("run")
    experiment = tiny(init_scale=10.0)
    record = lr.simulate(experiment)
    record.attrs["thresholds"] = json.dumps(lr.Thresholds(test=0.6).table())
    lr.save_record(record, place / "record.nc")
    said = lr.forecast(experiment).summary()
    (place / "forecast.json").write_text(json.dumps(said))
    return place


@pytest.mark.slow
def test_a_runs_page_is_made_again(folder, monkeypatch, capsys):
    assert call_command(monkeypatch, "report", folder) == 0
    written = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    names = ("report.html", "figure.pdf", "figure.png")
    assert written == [str(folder / name) for name in names]
    assert all((folder / name).stat().st_size > 1000 for name in names)
    page = (folder / "report.html").read_text()
    assert "Forecast and run" in page
    assert "test threshold 0.6," in page
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert 'src="http' not in page
    assert call_command(monkeypatch, "report", folder, "--threshold", "test=0.7") == 0
    assert "test threshold 0.7," in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_record_by_itself_is_enough(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.nc").write_bytes((folder / "record.nc").read_bytes())
    assert call_command(monkeypatch, "report", tmp_path / "mine.nc") == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.nc", "mine.html", "mine.pdf", "mine.png"}
    assert "Forecast and run" not in (tmp_path / "mine.html").read_text()
    out = tmp_path / "other.html"
    assert call_command(monkeypatch, "report", tmp_path / "mine.nc", "--out", out) == 0
    assert out.read_text() == (tmp_path / "mine.html").read_text()
    capsys.readouterr()


def test_a_page_is_html(golden):
    assert not html_faults(golden)
    assert html_faults(golden.replace("</main>", "</div></main>")) == ["end-tag-too-early"]


@pytest.mark.slow
def test_a_stores_page_has_every_sweep(tmp_path, monkeypatch, capsys):
    store = tmp_path / "store"
    lr.sweep(tiny(), {"init_scale": [1.0, 10.0]}, store, workers=0)
    lr.sweep(tiny(name="one"), {"seed": [0]}, store, workers=0)
    before = {path: path.read_bytes() for path in store.rglob("*.nc")}
    assert call_command(monkeypatch, "report", store, "--out", tmp_path / "map.html") == 0
    page = (tmp_path / "map.html").read_text()
    assert page.count("<img alt") == 2
    assert "2 runs over" in page
    assert "Preset" not in page
    assert not html_faults(page)
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".html", ".pdf", ".png"}
    # Figures of a page of another name do not replace those of `report.html`.
    figures = [path.name for path in tmp_path.iterdir() if path.suffix == ".pdf"]
    assert len(figures) == 2
    assert all(name.startswith("map-") for name in figures)
    assert {path: path.read_bytes() for path in store.rglob("*.nc")} == before
    assert len(lr.studies.sweeps_of(store)) == 2
    capsys.readouterr()


GOLDEN = Path(__file__).parent / "golden" / "record.nc"
HOSTILE_TEXTS = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\u2028&'\"<img src=x onerror=y>",
)


class Page(HTMLParser):
    """The elements of a page; raises where an end tag closes no open element."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.open: list[tuple[str, int]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in self.VOID:
            self.open.append((tag, len(self.texts) - 1))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1][1]] += data

    def of(self, tag, **attrs):
        """The elements of a kind: attributes and text."""
        pairs = zip(self.found, self.texts, strict=True)
        return [(a, t) for (name, a), t in pairs if name == tag and attrs.items() <= a.items()]

    def text(self, tag, **attrs):
        ((_, text),) = self.of(tag, **attrs)
        return text


def paged(folder, record, forecast=None):
    lr.report(record, folder / "page.html", forecast)
    return (folder / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return paged(tmp_path_factory.mktemp("golden"), lr.open_record(GOLDEN))


def views(page):
    return json.loads(page.text("script", type="application/json"))


def digest(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def test_a_page_is_small_and_says_what_was_asked_and_what_happened(golden):
    assert len(golden.encode()) < 2.5e6
    page = Page(golden)
    asked, said = (text for _, text in page.of("p")[:2])
    assert asked.startswith("Does the model DiagonalLinear (depth = 2), trained on")
    assert "n = 12, d = 30, k = 3" in asked
    assert "initial scale 3 and weight decay 0.01" in asked
    assert "generalises at the time of the fit" in said


def test_the_curves_of_a_page_are_those_of_the_record(golden):
    record = lr.open_record(GOLDEN)
    found = views(Page(golden))
    assert list(found) == ["log", "linear"]
    for scale, figure in found.items():
        # Time 0 is not on a log axis.
        shown = record.sel(time=record["time"] > 0) if scale == "log" else record
        for name in ("train_loss", "test_loss", "test_accuracy", "param_norm"):
            traces = [t for t in figure["data"] if t["y"] == shown[name].values.tolist()]
            assert traces, (scale, name)
            assert traces[0]["x"] == shown["time"].values.tolist()
        # All panels share a time axis, so that zoom and hovering are linked.
        assert figure["layout"]["xaxis"]["type"] == scale
        assert not any(key.startswith("xaxis") for key in figure["layout"] if key != "xaxis")
        assert figure["layout"]["hoversubplots"] == "axis"


def test_a_page_repeats_its_run(golden):
    page = Page(golden)
    record = lr.open_record(GOLDEN)
    ((_, command), (_, text)) = page.of("pre")
    assert command == "lazyrich run experiment.toml"
    assert text == record.attrs["experiment"].rstrip("\n") or text == record.attrs["experiment"]
    assert record.attrs["experiment_hash"] in golden


def test_a_page_loads_nothing_and_allows_its_own_scripts_only(golden):
    page = Page(golden)
    for _, attrs in page.found:
        assert not {"srcset", "action", "data", "background", "poster"} & set(attrs)
        assert attrs.get("src", "data:").startswith("data:")
        assert attrs.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attrs)
    assert not re.search(r"url\(|@import|https?://", page.text("style"))
    (own,) = [text for attrs, text in page.of("script") if not attrs]
    packed = page.text("script", id="plotly")
    plotly = gzip.decompress(base64.b64decode(packed)).decode()
    ((policy, _),) = page.of("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [digest(own), digest(plotly)]
    assert rules["img-src"] == "data: blob:"
    assert "connect-src" not in rules


def test_a_page_can_be_read_without_seeing_it(golden):
    page = Page(golden)
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(attrs["alt"] for attrs, _ in page.of("img"))
    assert all(attrs["scope"] in ("row", "col") for attrs, _ in page.of("th"))
    ids = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_a_stores_page_has_the_curves_of_every_run(tmp_path, monkeypatch, capsys):
    store = tmp_path / "store"
    shutil.copytree(GOLDEN.with_name("store"), store)
    assert call_command(monkeypatch, "report", store) == 0
    capsys.readouterr()
    written = (store / "report.html").read_text(encoding="utf-8")
    assert len(written.encode()) < 2.5e6
    page = Page(written)
    figure = views(page)["log"]
    (one,) = Store(store).sweeps()
    losses = lr.open_store(store, one)["train_loss"].values.reshape(4, -1)
    shown = [trace["y"] for trace in figure["data"]]
    # Time 0 is not on a log axis.
    assert all(loss[1:].tolist() in shown for loss in losses)
    assert figure["layout"]["meta"]["key"] == "initial scale α"
    assert {trace["legendgroup"] for trace in figure["data"]} == {"3", "10"}
    links = {attrs["href"].removeprefix("#") for attrs, _ in page.of("a")}
    assert links <= {attrs.get("id") for _, attrs in page.found}
    # The other scale of time has the same curves, which the page has once.
    linear = views(page)["linear"]
    assert "data" not in linear
    assert (figure["layout"]["xaxis"]["type"], linear["layout"]["xaxis"]["type"]) == (
        "log", "linear",
    )  # fmt: skip


def test_a_page_says_how_many_steps_the_source_takes(tmp_path):
    record = lr.open_record(GOLDEN)
    source = '\n[published]\nsource = "a table"\ntime_per_step = 0.25\n'
    page = paged(tmp_path, record.assign_attrs(experiment=record.attrs["experiment"] + source))
    (said,) = re.findall(r"step of the source, 0.25 in flow time, would take ([\d,]+) steps", page)
    assert int(said.replace(",", "")) == round(float(record["time"][-1]) / 0.25)
    unknown = source.replace("time_per_step = 0.25\n", "")
    page = paged(tmp_path, record.assign_attrs(experiment=record.attrs["experiment"] + unknown))
    assert "step of the source" not in page


def test_a_description_that_is_none_has_a_page(tmp_path):
    odd = 'name = "odd"\ninit_scale = 3.0\nweight_decay = 0.01\nt1 = [1]\ntask = 3\n'
    page = Page(paged(tmp_path, lr.open_record(GOLDEN).assign_attrs(experiment=odd)))
    asked = page.of("p")[0][1]
    assert "trained on – with the loss –, initial scale 3 and weight decay 0.01" in asked
    assert asked.endswith("until t = –.")


@pytest.mark.browser
def test_a_browser_draws_the_curves_and_complains_of_nothing(golden, tmp_path):
    (tmp_path / "page.html").write_text(golden, encoding="utf-8")
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}",
        "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom",
    ]  # fmt: skip
    address = (tmp_path / "page.html").as_uri()
    found = subprocess.run(
        [CHROMIUM, *options, address], capture_output=True, text=True, timeout=60, check=True
    )
    # A refusal by the content security policy is an error in the console.
    assert "CONSOLE" not in found.stderr
    assert '<figure data-views="curves" class="on">' in found.stdout
    figure = views(Page(golden))["log"]
    assert found.stdout.count('class="trace scatter') == len(figure["data"])
    # The key of the page has names as in print.
    named = next(t["name"] for t in figure["data"] if t["legendgroup"] == "textbook")
    assert f"</span>{named}</label>" in found.stdout
    groups = {trace["legendgroup"] for trace in figure["data"]} | {"phases"}
    assert found.stdout.count('type="checkbox"') == len(groups)


def test_hostile_strings_are_text(tmp_path):
    record = lr.open_record(GOLDEN)
    table = tomllib.loads(record.attrs["experiment"])
    name = "".join(HOSTILE_TEXTS)
    text = record.attrs["experiment"].replace('name = "experiment"', f"name = {json.dumps(name)}")
    assert table["name"] != tomllib.loads(text)["name"] == name
    labels = record["predictor_label"].copy(data=np.array(["".join(HOSTILE_TEXTS)] * 2))
    record = record.assign({"predictor_label": labels, name: ("time", record["time"].values)})
    said = {
        "verdict": name, "confidence": name, "t50": 1.0, "t_fit": 1.0, "t_kernel_end": None,
        "t50_interval": [0.5, 2.0], "early": {}, "late": {name: 1.0}, "reasons": [name],
        "calibration": {"name": name},
    }  # fmt: skip
    written = paged(tmp_path, record.assign_attrs(experiment=text, solver="{}"), said)
    assert not html_faults(written)
    page = Page(written)
    assert page.text("h1") == name
    assert len(page.of("script")) == 3
    assert len(page.of("img")) == 1
    assert "alert(1)" not in "".join(text for attrs, text in page.of("script") if not attrs)
    found = views(page)
    # Plotly reads markup in what it shows, so that is escaped in the JSON as well. It does not show
    # groups; the page shows them as text.
    shown = re.sub(r'"legendgroup": "(\\.|[^"\\])*"', "", json.dumps(found))
    assert "&lt;script" in shown
    assert not re.search(r"<(script|img|!--)", shown)
    assert "\u2028" not in page.text("script", type="application/json")


def test_a_page_needs_plotly(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    without = lambda name: None if name == "plotly" else real(name)
    for place in ("lazyrich._core.errors", "lazyrich.cli.settings"):
        monkeypatch.setattr(f"{place}.find_spec", without)
    with pytest.raises(lr.ComputationError, match=r"pip install 'lazyrich\[view\]'"):
        lr.report(lr.open_record(GOLDEN), tmp_path / "page.html")
    assert call_command(monkeypatch, "report", GOLDEN, "--out", tmp_path / "page.html") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("a report needs pip install 'lazyrich[view]'")
    assert not (tmp_path / "page.html").exists()


HOSTILE = {
    "nothing": lambda f: f.unlink(),
    "text": lambda f: f.write_text("experiment = 3"),
    "no TOML": lambda f: _changed(f, experiment="name = = 3"),
    "deep TOML": lambda f: _changed(f, experiment="a = " + "[" * 5000),
    "no table": lambda f: _changed(f, thresholds="[1]"),
    "deep JSON": lambda f: _changed(f, solver="[" * 100_000),
    "odd threshold": lambda f: _changed(f, thresholds='{"test": 7}'),
    "odd curve": lambda f: _worded(f, "test_loss"),
    "no losses": lambda f: _dropped(f, "test_loss", "test_accuracy"),
    "a whole store": lambda f: (f.unlink(), f.mkdir()),
}


def _changed(file, **attributes):
    lr.save_record(lr.open_record(file).assign_attrs(attributes), file)


def _worded(file, name):
    record = lr.open_record(file)
    words = np.array(["a"] * record.sizes["time"])
    lr.save_record(record.assign({name: ("time", words)}), file)


def _dropped(file, *names):
    lr.save_record(lr.open_record(file).drop_vars(names), file)


@pytest.mark.parametrize("how", HOSTILE)
def test_a_record_that_is_none_is_one_line(how, folder, tmp_path, monkeypatch, capsys):
    file = tmp_path / "record.nc"
    file.write_bytes((folder / "record.nc").read_bytes())
    HOSTILE[how](file)
    assert call_command(monkeypatch, "report", file) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lazyrich: ")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"verdict": 3}', "[" * 100_000, '{"t50": "soon"}', "\x00"]
)
def test_a_forecast_that_is_none_is_one_line(text, folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "record.nc").write_bytes((folder / "record.nc").read_bytes())
    (tmp_path / "forecast.json").write_text(text)
    assert call_command(monkeypatch, "report", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "should be the summary of a forecast" in line


# A log of a grokking run: steps, an epoch a hundred of them, tests at every fifth row.
STEPS = np.arange(0, 20_001, 20)
TRAIN = np.where(STEPS >= 200, 1.0, 0.1)
TEST = np.where(STEPS >= 8000, 0.98, 0.1)


def as_csv(scale=100.0):
    lines = ["step,epoch,train/loss,train/acc,val/loss,val/acc,lr"]
    for i, step in enumerate(STEPS):
        test = f"{1 - TEST[i]},{scale * TEST[i]}" if i % 5 == 0 else ","
        lines.append(f"{step},{step / 100},{1 - TRAIN[i]},{scale * TRAIN[i]},{test},1e-3")
    return "\n".join(lines) + "\n"


def as_lines():
    """As a trainer logs: training and tests in lines of their own, names nested or not."""
    lines = []
    for i, step in enumerate(STEPS.tolist()):
        lines.append({"loss": 1 - TRAIN[i], "accuracy": TRAIN[i], "step": step, "note": "words"})
        if i % 5 == 0:
            test = {"loss": 1 - TEST[i], "accuracy": TEST[i]}
            lines.append({"eval": test, "step": step, "epoch": step / 100})
    return "\n".join(json.dumps(line) for line in lines)


def test_logs_of_both_kinds_are_judged_alike(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text(as_csv())
    (tmp_path / "b.jsonl").write_text(as_lines())
    found = []
    for name in ("a.csv", "b.jsonl"):
        assert call_command(monkeypatch, "judge", tmp_path / name, "--json") == 0
        shown = capsys.readouterr()
        assert ("percents" in shown.err) == (name == "a.csv")
        found.append(json.loads(shown.out))
    one, other = found
    for key in set(one) - {"experiment", "log"}:
        assert one[key] == pytest.approx(other[key]) if isinstance(one[key], float) else True
    assert one["outcome"] == other["outcome"] == "grokked"
    # Tests every hundred steps: the true steps 200 and 8000 are records.
    assert 100 < one["t_train"] <= 200
    assert 7900 < one["t50"] <= 8000
    assert one["delay_ratio"] == pytest.approx(one["t_change"] / one["t_train"])
    assert one["delay_difference"] == pytest.approx(one["t_change"] - one["t_train"])
    assert one["log"]["columns"]["test_accuracy"] == "val/acc"
    assert other["log"]["columns"]["test_accuracy"] == "eval/accuracy"
    assert one["log"]["unused"] == ["lr"]
    assert "201 of 1,001 rows have test values" in one["log"]["notes"]


@pytest.mark.slow
def test_a_log_is_told_in_steps_and_epochs(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text(as_csv(scale=1.0))
    out = tmp_path / "a.html"
    assert call_command(monkeypatch, "judge", tmp_path / "a.csv", "--out", out) == 0
    shown = capsys.readouterr().out
    assert "t_test           step 7,99" in shown
    assert "(epoch 79.9)" in shown or "(epoch 80)" in shown
    assert "times the time of the fit; 7,7" in shown or "times the time of the fit; 7,8" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.html", "a.pdf", "a.png"}
    assert "logged by a.csv" in out.read_text()
    arguments = ["judge", tmp_path / "a.csv", "--time-per-step", "0.01", "--json"]
    assert call_command(monkeypatch, *arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert 79 < summary["t50"] <= 80
    log = lr.records.read_log(tmp_path / "a.csv", time_per_step=0.01)
    assert log.record["step"].values[-1] == 20_000
    assert log.record["epoch"].values[-1] == 200


def test_columns_can_be_named(tmp_path, monkeypatch, capsys):
    text = as_csv(scale=1.0).replace("val/acc", "probe_3").replace("step", "n")
    (tmp_path / "a.csv").write_text(text)
    arguments = ["judge", tmp_path / "a.csv", "--column", "test_accuracy=probe_3"]
    assert (
        call_command(monkeypatch, *arguments, "--column", "step=n", "--threshold", "test=0.99") == 0
    )
    assert "t_test           –" in capsys.readouterr().out
    assert call_command(monkeypatch, *arguments, "--column", "stepp=n") == 2
    assert "did you mean step?" in capsys.readouterr().err
    assert call_command(monkeypatch, *arguments, "--column", "step=nn") == 2
    assert "should be a column" in capsys.readouterr().err


def test_a_log_that_breaks_is_read_up_to_there(tmp_path, monkeypatch, capsys):
    lines = as_csv(scale=1.0).splitlines()
    for i in range(501, len(lines)):
        lines[i] = f"{STEPS[i - 1]},100,nan,0.1,nan,0.1,1e-3"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert call_command(monkeypatch, "judge", tmp_path / "a.csv") == 0
    shown = capsys.readouterr().out
    assert "outcome          failed" in shown
    assert "not finite from step 10000 on" in shown
    assert lr.records.read_log(tmp_path / "a.csv").record["time"].values[-1] == 9900


GOOD = "step,train_acc,test_acc\n1,0.5,0.5\n2,1,1\n"
BAD = {
    "empty": "",
    "head only": "step,train_acc,test_acc\n",
    "no step": GOOD.replace("step", "when"),
    "no test": GOOD.replace("test_acc", "lr"),
    "two candidates": "step,train_acc,val_acc,valid_acc\n1,1,1,1\n",
    "backwards": GOOD + "1,1,1\n",
    "out of range": GOOD + "3,1,200\n",
    "more cells": GOOD + "3,1,1,1\n",
    "twice": GOOD.replace("train_acc", "test_acc"),
    "long field": GOOD + f'3,1,"{"x" * 200_000}"\n',
    "infinite step": GOOD + "inf,1,1\n",
    "negative step": GOOD.replace("1,0.5", "-1,0.5"),
    "broken at once": "step,train_acc,test_acc\n1,nan,nan\n2,nan,nan\n",
    "columns": ",".join(f"c{i}" for i in range(3000)) + "\n" + ",".join("1" * 3000),
    "list": "[1, 2]\n",
    "cut": '{"step": 1, "train_acc": 0.5\n',
    "deep": '{"step": ' + "[" * 100_000 + "\n",
    "deep objects": '{"a": ' * 3000 + "1" + "}" * 3000,
    "huge number": '{"step": ' + "9" * 5000 + ', "train_acc": 1, "test_acc": 1}\n',
    "words": '{"step": "soon", "train_acc": "high", "test_acc": "low"}\n',
    "null": '{"step": null, "train_acc": null}\n',
}


@pytest.mark.parametrize("what", BAD)
def test_a_log_that_cannot_be_read_is_one_line(what, tmp_path, monkeypatch, capsys):
    (tmp_path / "log.txt").write_text(BAD[what])
    assert call_command(monkeypatch, "judge", tmp_path / "log.txt") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lazyrich: ")
    assert len(line) < 2200


def test_what_is_no_file_of_text_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00step")
    monkeypatch.setattr(lr.records.logs.read, "MAX_BYTES", 100)
    (tmp_path / "large.csv").write_text("step\n" + "1\n" * 100)
    for name, message in (
        ("log.csv", "should be a log in CSV or JSON lines"),
        ("large.csv", "more than 100 are not read"),
        (".", "a folder with event files; it has none"),
        ("absent.csv", "No such file"),
    ):
        assert call_command(monkeypatch, "judge", tmp_path / name) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "absent"], "should be a record (.nc), the folder of a run, or a store"),
        (["report", "."], "should be a record (.nc), the folder of a run, or a store"),
        (["report", "absent", "--out", "page.pdf"], "should end in .html"),
        (["report", "absent", "--out", "absent/page.html"], "in an existing folder"),
        (["judge", "log.csv", "--column", "test_accuracy"], "should be NAME=COLUMN"),
        (["judge", "log.csv", "--threshold", "tests=1"], "did you mean test?"),
        (["judge", "log.csv", "--time-per-step", "-1"], "should be positive and finite"),
        (["judge", "log.csv", "--out", "a.pdf"], "should end in .html"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(GOOD)
    assert call_command(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_record_says_which_variables_it_has():
    log = lr.record([1, 2], {"train_loss": [1.0, 0.5], "test_loss": [1.0, 1.0]}, unit="epoch")
    assert isinstance(log, xr.Dataset)
    assert log["time"].attrs == {"long_name": "epoch", "units": "epoch"}
    assert lr.plot.run(log).axes[-1].get_xlabel() == "epoch"
