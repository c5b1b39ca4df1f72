import html
import json
import re
import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import cli
from lazyrich.plot.figures.run import record_of
from lazyrich.studies._result import PanelResult, check_selections, compare, planned
from lazyrich.sweeps import Sweep, batches
from lazyrich.sweeps._execution import run_sweep
from lazyrich.sweeps._store import Store

PANEL = """
name = "own/{name}"
weight_decay = 1e-2
t1 = 1e3
probes = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"]

[task]
kind = "SparseClassification"
n = 16
d = 60
k = 1
num_test = 50

[times]
num_log = 20
num_linear = 5
"""
PUBLISHED = """
[published]
source = "a table"
numbers = {{ t50 = {t50}, "late.param_norm" = 1e9 }}
"""
CLAIMS = """
[thresholds]
delay = 1.5

[[claims]]
text = "the norm | decays faster"
quantity = "late.param_norm"
kind = "decreases"
along = "weight_decay"
source = "section 1"

[[claims]]
text = "it comes out somehow"
kind = "outcomes"
value = ["grokked", "immediate", "gradual", "improved", "unchanged", "untrained", "misgrokked"]
"""


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    run = PANEL.format(name="run") + PUBLISHED.format(t50=100.0)
    (folder / "run.toml").write_text(run + '\n[over]\nseed = "range:4"\n')
    # A batch a run: all of one shape, which share what is compiled.
    over = '\n[over]\ninit_scale = "log:1:100:2"\nweight_decay = [0.01, 0.03]\n'
    quick = '\n[quick]\nt1 = 500.0\nnote = "Shorter."\n'
    quick += "[quick.over]\ninit_scale = [3.0]\nweight_decay = [0.01]\n"
    (folder / "map.toml").write_text(PANEL.format(name="map") + CLAIMS + over + quick)
    return folder


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0


def test_every_panel_that_comes_along_can_beplanned():
    for study in ("kumar2024", "lyu2024", "maps", "practice"):
        for name, panel in lr.studies.panels(study).items():
            for preset in ("paper", "quick"):
                experiment, over = panel.varied(preset)
                sweep = lr.sweeps.Sweep.over(experiment, over)
                check_selections(panel.at(preset), sweep, preset)
                assert len(sweep) >= 1
                assert sweep.run(0).name.startswith(f"{study}/{name}")


@pytest.mark.parametrize(("name", "size"), [("3a", 5), ("3e", 5), ("7b", 3), ("1", 1)])
def test_batches_of_a_panel_are_alike(name, size):
    # 25, 75, 45 and 5 runs, of which 5, 25, 9 and 1 share a seed, in eight batches or more.
    _, sweep = planned(lr.studies.panels("kumar2024")[name], "quick")
    assert {len(batch.runs) for batch in batches(sweep)} == {size}


def test_presets_change_what_they_say(study):
    panels = lr.studies.panels(study)
    experiment, over = panels["map"].varied("quick")
    assert experiment.t1 == 500.0
    assert over["init_scale"] == [3.0]
    assert panels["map"].at("quick").note == "Shorter."
    assert panels["map"].at("paper").note is None
    assert len(panels["map"].at("quick").claims) == 2
    assert panels["map"].at("quick").thresholds == lr.Thresholds(delay=1.5)
    experiment, over = panels["map"].varied("paper")
    assert experiment.t1 == 1000.0
    np.testing.assert_allclose(list(over["init_scale"]), [1, 100])
    # Keys in step, and a single run, which varies its one seed.
    (study / "step.toml").write_text(
        PANEL.format(name="step") + '\n[over]\n"init_scale,t1" = [[1.0, 10.0], [2.0, 20.0]]\n'
    )
    assert lr.studies.panels(study)["step"].varied("paper")[1] == {
        ("init_scale", "t1"): [[1.0, 10.0], [2.0, 20.0]]
    }
    alone = lr.studies.panels("lyu2024")["2a"]
    assert alone.varied("paper")[1] == {"seed": [0]}


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_interrupted(study, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    arguments = ["reproduce", study, "--preset", "paper", "--out", out, "--workers", 0]

    def killed(*args, **kwargs):
        if list((out / "store" / "batches").glob("*.nc")):
            raise KeyboardInterrupt
        return run_sweep(*args, **kwargs)

    # "map" comes first; before "run" begins, the process ends.
    monkeypatch.setattr("lazyrich._reproduce.reproduce.run_sweep", killed)
    with pytest.raises(KeyboardInterrupt):
        lr.reproduce(study, out / "store", preset="paper", workers=0)
    before = {path: path.stat().st_mtime_ns for path in (out / "store" / "batches").iterdir()}
    assert len(before) == 4
    monkeypatch.setattr("lazyrich._reproduce.reproduce.run_sweep", run_sweep)
    assert call(monkeypatch, *arguments) == 0
    shown = capsys.readouterr().out
    assert "map              4 runs" in shown
    assert "t50" in shown
    assert {path.stat().st_mtime_ns for path in before} == set(before.values())
    names = {path.name for path in out.iterdir()}
    assert names == {
        "store", "report.html", "report.json", "report.md",
        "map.pdf", "map.png", "run.pdf", "run.png",
    }  # fmt: skip
    content = json.loads((out / "report.json").read_text())
    by_name = {panel["name"]: panel for panel in content["panels"]}
    assert by_name["map"]["runs"] == 4
    assert sum(by_name["map"]["outcomes"].values()) == 4
    rows = {row["key"]: row for row in by_name["run"]["rows"]}
    assert rows["late.param_norm"]["agrees"] is False
    decays, comes = by_name["map"]["claims"]
    # Two scales, two decays, one seed: an order of two says nothing.
    assert decays["holds"] == "cannot say"
    assert decays["estimate"] < 0
    assert comes["holds"] == "yes"
    assert by_name["map"]["notes"] == []
    assert "it comes out somehow: yes (4 of 4" in shown
    assert f"lazyrich reproduce {study} --preset paper" in (out / "report.html").read_text()
    page = (out / "report.html").read_text()
    assert "agrees?" in page
    assert "it comes out somehow" in page
    tables = (out / "report.md").read_text()
    assert "| the norm \\| decays faster | Spearman's rank correlation" in tables
    assert "| `t50` | 100 |" in tables
    assert page.count("<img") == 2
    # The numbers are those of the store.
    sweeps = {one.experiment.name: name for name, one in Store(out / "store").sweeps().items()}
    runs = lr.open_store(out / "store", sweeps["own/run"])
    norms = runs["param_norm"].isel(record=-1)
    assert rows["late.param_norm"]["median"] == pytest.approx(float(norms.median()), rel=1e-12)


def test_agreement_is_a_ratio_within_the_tolerance():
    published = lr.experiments.Published(
        source="s", numbers={"t50": 100.0, "t10": 100.0, "t90": 5.0, "early.x": 0.0}, tolerance=0.2
    )
    dataset = xr.Dataset(
        {"t50": ("seed", [80.0, 119.0, 130.0]), "t10": ("seed", [121.0, np.nan, 121.0]),
         "t90": ("seed", [np.nan] * 3), "early_x": ("seed", [0.0, 0.0, 0.0]),
         "outcome": ("seed", ["grokked"] * 3)}
    )  # fmt: skip
    rows = {row.key: row for row in compare(published, dataset)}
    assert rows["t50"].median == 119.0
    assert (rows["t50"].low, rows["t50"].high) == (80.0, 130.0)
    assert rows["t50"].agrees
    assert rows["t10"].ratio == pytest.approx(1.21)
    assert not rows["t10"].agrees
    assert np.isnan(rows["t90"].median)
    assert not rows["t90"].agrees
    assert not rows["early.x"].agrees


def test_a_study_is_repeated_with_what_its_user_gave(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lazyrich._reproduce.reproduce.reproduce", lambda *args, **options: [])
    data = tmp_path / "my data"
    options = ["--panel", "6a", "--preset", "paper", "--data", data, "--import", "json"]
    out = tmp_path / "out"
    assert call(monkeypatch, "reproduce", "kumar2024", *options, "--out", out) == 0
    command = (
        f"lazyrich reproduce kumar2024 --panel 6a --preset paper --data '{data}' --import json"
    )
    assert html.unescape((out / "report.html").read_text()).count(f">{command}<") == 1
    capsys.readouterr()


def test_studies_that_there_are_not_are_refused(tmp_path, study):
    with pytest.raises(
        lr.InputError, match="kumar2024, lyu2024, maps, open, practice, or a folder"
    ):
        lr.studies.panels("nothing")
    with pytest.raises(lr.InputError, match="panel = '4': should be one of map, run"):
        lr.reproduce(study, tmp_path / "store", panel="4")
    (study / "bad.toml").write_text("name = 3 =")
    with pytest.raises(lr.InputError, match=r"bad.toml.*should be a TOML file"):
        lr.studies.panels(study)
    (study / "bad.toml").write_text(PANEL.format(name="bad") + "\n[over]\nseed = 3\n")
    with pytest.raises(lr.InputError, match=r"over.seed = 3: should be a list"):
        lr.studies.panels(study)
    odd = '\n[[quick.claims]]\ntext = "odd"\nkind = "increases"\nquantity = "t50"\n'
    (study / "bad.toml").write_text(PANEL.format(name="bad") + odd)
    with pytest.raises(lr.InputError, match=r"quick.claims.along = None: missing; increases"):
        lr.studies.panels(study)
    # Found before anything is run.
    nowhere = (
        '\n[[claims]]\ntext = "odd"\nkind = "outcomes"\nvalue = "grokked"\nwhere = {seed = 9}\n'
    )
    (study / "bad.toml").write_text(PANEL.format(name="bad") + nowhere)
    with pytest.raises(lr.InputError, match=r"claims.where = \{'seed': 9\}: should hold for some"):
        lr.reproduce(study, tmp_path / "store", workers=0)
    assert not (tmp_path / "store").exists()


OWN = """
import numpy as np
from matplotlib.figure import Figure

import lazyrich as lr


class LargestNorm(lr.claims.AbstractQuantityClaim):
    most: float

    def judge(self, found):
        largest = float(np.max(found.values))
        return self.result(
            found, how="maximum", published=f"at most {self.most:g}", ours=f"{largest:.6g}",
            numbers=(largest, largest, largest), holds="yes" if largest <= self.most else "no",
        )


class NormBars(lr.plot.figures.AbstractFigure):
    colour: str = "black"

    def draw(self, result):
        figure = Figure()
        norms = result.dataset["late_param_norm"].values.ravel()
        figure.subplots().bar(range(len(norms)), norms, color=self.colour)
        return lr.plot.figures.Drawing(figure, f"{len(norms)} norms in {self.colour}.")
"""


@pytest.mark.slow
def test_claims_and_figures_of_ones_own_stand_in_a_panel(study, tmp_path, monkeypatch, capsys):
    claims = "".join(
        f'\n[[claims]]\ntext = "at most {most}"\nkind = "largest_norm"\n'
        f'quantity = "late.param_norm"\nmost = {most}\n'
        for most in (1e-3, 1e3)
    )
    figure = '[figure]\nkind = "norm_bars"\ncolour = "red"\n'
    text = PANEL.format(name="own") + '[over]\nseed = "range:3"\n'
    (study / "own.toml").write_text(text + claims + figure)
    (tmp_path / "own_kinds.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["reproduce", study, "--panel", "own", "--preset", "paper", "--workers", 0]
    assert call(monkeypatch, *arguments, "--out", "out") == 2
    assert "claims.kind = 'largest_norm': should be one of at_least" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--out", "out", "--import", "no_kinds") == 2
    assert "import = 'no_kinds': should be a module of this folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert call(monkeypatch, *arguments, "--out", "out", "--import", "own_kinds") == 0
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    small, large = content["panels"][0]["claims"]
    (one,) = Store(tmp_path / "out" / "store").sweeps()
    norms = lr.open_store(tmp_path / "out" / "store", one)["param_norm"].isel(record=-1)
    assert (small["holds"], large["holds"]) == ("no", "yes")
    assert small["estimate"] == pytest.approx(float(norms.max()), rel=1e-6)
    assert small["ours"] == f"{norms.max():.6g}; 3 runs of 3 seeds"
    assert "3 norms in red." in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "own.pdf").is_file()


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ('"map"', "figure = 'map': should be a table with a `kind`"),
        ('{ x = "seed" }', "figure = .*: should be a table with a `kind`"),
        ('{ kind = "Map" }', "figure.kind = 'Map': should be one of family, forecasts, map"),
        ('{ kind = "map", z = "seed" }', "figure.z = 'seed': unknown key"),
        ('{ kind = "family", key = "t1" }', "figure.key = 't1': should be varied by the panel"),
        ('{ kind = "scores" }', "figure.along = None: missing; scores needs it"),
    ],
)  # fmt: skip
def test_a_figure_that_cannot_be_is_refused_before_anything_is_run(
    figure, message, study, tmp_path, monkeypatch, capsys
):
    (study / "run.toml").write_text(f"figure = {figure}\n" + PANEL.format(name="run"))
    arguments = ["reproduce", study, "--panel", "run", "--out", tmp_path / "out", "--workers", 0]
    assert call(monkeypatch, *arguments) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
    with pytest.raises(lr.InputError, match=message):
        lr.reproduce(study, tmp_path / "out", panel="run", workers=0)
    assert not (tmp_path / "out").exists()


def test_figures_are_those_that_panels_declare(study):
    kinds: dict[tuple[Any, str, lr.studies.Preset], lr.plot.figures.AbstractFigure] = {
        ("lyu2024", "1a", "paper"): lr.plot.figures.Run(),
        ("lyu2024", "2c", "quick"): lr.plot.figures.Family(key="weight_decay"),
        ("kumar2024", "3e", "paper"): lr.plot.figures.Map(delay="difference"),
        ("open", "misgrokking", "paper"): lr.plot.figures.Scores(along="task.k"),
        ("open", "practice", "paper"): lr.plot.figures.Rates(),
        ("forecast", "sparse", "paper"): lr.plot.figures.Forecasts(),
        ("forecast", "sparse", "quick"): lr.plot.figures.Family(key="init_scale"),
        # What declares none: as many keys as it varies.
        (study, "run", "paper"): lr.plot.figures.Run(),
        (study, "map", "paper"): lr.plot.figures.Map(),
    }
    for (folder, name, preset), figure in kinds.items():
        panel = lr.studies.panels(folder)[name]
        sweep = Sweep.over(*panel.varied(preset))
        result = PanelResult(name, sweep, xr.Dataset(), {}, [], [], panel.at(preset))
        assert lr.plot.figures.figure_of(result) == figure


def test_a_panel_brings_its_curves_in_its_own_folder(study):
    published = '\n[published]\nsource = "a table"\ncurves = "{}"\ntime_per_step = 0.5\n'
    (study / "run.toml").write_text(PANEL.format(name="run") + published.format("run.csv"))
    with pytest.raises(lr.InputError, match=r"published.curves = 'run.csv': should be a file in"):
        lr.studies.panels(study)
    (study / "run.csv").write_text("curve,x,y\ntest_acc,2,0.5\ntest_acc,4,0.75\n")
    panel = lr.studies.panels(study)["run"]
    record = xr.Dataset(
        {n: ("record", v) for n, v in {"time": [0.0, 9.0], "test_accuracy": [0.5, 1.0]}.items()}
        | {"outcome": ("seed", ["grokked"])}
    )
    sweep = Sweep.over(*panel.varied("paper"))
    result = PanelResult("run", sweep, record, {}, [], [], panel)
    drawn = lr.plot.figures.Run().draw(result)
    assert "circles are published" in drawn.caption
    circles = [k for k in drawn.figure.axes[0].get_lines() if k.get_marker() == "o"]
    np.testing.assert_array_equal(np.array(circles[0].get_xydata()), [[1.0, 0.5], [2.0, 0.75]])
    # A record alone does not say where its panel is.
    assert lr.studies.published_curves(panel.experiment.published) == {}
    (study / "run.csv").write_text("curve,x\ntest_acc,2\n")
    with pytest.raises(lr.InputError, match=r"should be a CSV file with columns curve, x and y"):
        lr.studies.panels(study)
    (study / "run.toml").write_text(PANEL.format(name="run") + published.format("../../x.csv"))
    with pytest.raises(lr.InputError, match=r"published.curves = '../../x.csv': should be a file"):
        lr.studies.panels(study)


def test_losses_can_be_swept_as_tables(study):
    tables = (
        '\n[over]\nloss = [{ kind = "Logistic" }, { kind = "Hinge", width = 0.1 }]\n'
        'seed = "range:2"\n'
        '\n[[claims]]\ntext = "fits"\nkind = "outcomes"\nvalue = "grokked"\n'
        'where = { "loss.kind" = "Hinge" }\n'
    )
    (study / "losses.toml").write_text(PANEL.format(name="losses") + tables)
    panel = lr.studies.panels(study)["losses"]
    version, sweep = planned(panel, "paper")
    assert [run.loss for run in sweep.runs()][1:3] == [
        lr.losses.Logistic(), lr.losses.Hinge(width=0.1)
    ]  # fmt: skip
    wrong = version.claims[0].model_copy(update={"where": {"loss.kind": "Squared"}})
    with pytest.raises(lr.InputError, match=r"claims\.where .*should hold for some"):
        check_selections(version.model_copy(update={"claims": (wrong,)}), sweep, "paper")
    against = {"loss.kind": "Squared"}
    beside = lr.claims.Equals(text="alike", quantity="t50", value=1.0, against=against)
    with pytest.raises(lr.InputError, match=r"claims\.against .*should hold for some"):
        check_selections(version.model_copy(update={"claims": (beside,)}), sweep, "paper")
    # Runs of one batch share a compiled loss.
    assert all(len({sweep.run(int(i)).loss for i in b.runs}) == 1 for b in batches(sweep))
    (study / "losses.toml").write_text(
        PANEL.format(name="losses") + tables.replace("Logistic", "Hingle")
    )
    with pytest.raises(lr.InputError, match=r"over\.loss\.kind = 'Hingle': should be one of"):
        planned(lr.studies.panels(study)["losses"], "paper")


def test_optimisers_stand_beside_the_flow():
    # Two scales, two seeds; with momentum a tenth of the recorded time, and half as much again.
    tables: list[dict[str, Any]] = [{"kind": "ReducedFlow", "rtol": 1e-5}]
    tables += [{"kind": "GradientDescent", "learning_rate": rate} for rate in (0.1, 1.0, 300.0)]
    tables += [{"kind": "SGD", "learning_rate": 0.1, "momentum": 0.9}]
    flow = np.array([[10.0, 20.0], [30.0, 40.0]])
    times = np.stack([f * flow for f in (1.0, 1.1, 2.0, np.nan, 0.15)])
    keys = ("dynamics", "init_scale", "seed")
    outcomes = np.full(times.shape, "grokked", dtype="U20")
    outcomes[3] = "diverged"
    early = np.where(np.arange(5)[:, None, None] == 3, 1.0, 0.6) + 0 * times[:1]
    variables = {
        "t50": (keys, times), "outcome": (keys, outcomes), "early_test_accuracy": (keys, early),
        "late_param_norm": (keys, np.ones((5, 2, 2)) * flow),
    }  # fmt: skip
    names = [json.dumps(table) for table in tables]
    coords = {"dynamics": names, "init_scale": [1.0, 10.0], "seed": [0, 1]}
    figure = lr.plot.rates(xr.Dataset(variables, coords, {"experiment": "t1 = 1e4\n"}))
    assert len(figure.axes) == 6
    lines = [k for k in figure.axes[0].get_lines() if len(np.asarray(k.get_xdata()))]
    points = [(k.get_marker(), np.asarray(k.get_xydata(), float)) for k in lines]
    descent, heavy = (at for marker, at in points if marker == "o")
    lost = next(at for marker, at in points if marker == "*")
    np.testing.assert_allclose(descent, [[0.1, 1.1], [0.1, 1.1], [1.0, 2.0], [1.0, 2.0]])
    np.testing.assert_allclose(heavy, [[1.0, 1.5]] * 2)
    # At the bottom, whatever they score.
    np.testing.assert_allclose(lost[:, 0], 300.0)
    low, high = np.log(figure.axes[0].get_ylim())
    np.testing.assert_allclose((np.log(lost[:, 1]) - low) / (high - low), 0.04)
    assert np.max(np.asarray(figure.axes[1].get_lines()[0].get_ydata())) == 0.6
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels == ["GradientDescent", "SGD, momentum 0.9", "diverged", "grokked"]
    with pytest.raises(lr.InputError, match="should vary over a flow and optimisers with rates"):
        lr.plot.rates(xr.Dataset(variables, coords, {}).isel(dynamics=slice(1, 3)))


@pytest.mark.slow
def test_figures_of_families(study, tmp_path):
    experiment, _ = lr.studies.panels(study)["run"].varied("paper")
    over = {"init_scale": [1.0, 30.0], "seed": range(2)}
    runs = lr.sweep(experiment, over, tmp_path / "store", workers=0)
    parts: list[Any] = [{"where": {"init_scale": 30.0},
              "curves": {"test_accuracy": "test_acc", "param_norm": "norm"}}]  # fmt: skip
    figures = lr.experiments.Published(
        source="s",
        curves="lyu2024/1a.csv",
        at=tuple(lr.experiments.PublishedAt(**p) for p in parts),
    )
    circled = lr.plot.curves(runs, "init_scale", figures)
    assert len(circled.axes[0].get_lines()) == 9
    assert len(circled.axes[2].get_lines()) == 5
    theirs = circled.axes[0].get_lines()[-1]
    np.testing.assert_array_equal(
        theirs.get_ydata(), lr.studies.published_curves(figures)["test_acc"][1][1:]
    )
    ours = circled.axes[0].get_lines()[-2]
    np.testing.assert_array_equal(theirs.get_color(), ours.get_color())
    figure = lr.plot.curves(runs, "init_scale")
    accuracy, loss, norm = figure.axes
    assert len(accuracy.get_lines()) == 8  # two parts, two values, two seeds
    assert len(norm.get_lines()) == 4
    assert loss.get_yscale() == "log"
    near = runs.assign(cosine_to_kernel=1 - runs["param_norm"] / 100)
    distance = lr.plot.curves(near, "init_scale").axes[3]
    assert distance.get_ylabel() == "1 − cosine to kernel predictor"
    drawn, norms = (np.array(a.get_lines()[0].get_xydata()) for a in (distance, norm))
    np.testing.assert_allclose(drawn, norms / [1, 100], atol=1e-15)


def test_the_caption_of_a_run_is_by_what_its_table_is_by(tmp_path):
    """By the thresholds of the panel, and by scores relative to the variance of the labels."""
    experiment = lr.Experiment(
        task=lr.tasks.SparseRegression(n=12, d=30, num_test=40),
        loss=lr.losses.Squared(),
        init_scale=3.0,
        weight_decay=0.01,
        t1=500.0,
        times=lr.dynamics.Times(first=1e-3, num_log=60, num_linear=10),
    )
    lr.sweep(experiment, {"seed": [0]}, tmp_path / "store", workers=0)
    found = {}
    for levels in (lr.Thresholds(), lr.Thresholds(train=0.5, change=0.01)):
        (result,) = lr.studies.sweeps_of(tmp_path / "store", levels)
        events = lr.transition(record_of(result.dataset.isel(seed=0), result))
        row = result.dataset.isel(seed=0)
        assert events.outcome == row["outcome"].item()
        for name, value in events.numbers().items():
            assert value == pytest.approx(float(row[name]), nan_ok=True), name
        found[events.t_train] = lr.plot.figures.Run().draw(result).caption
        assert events.says.partition(";")[0] in found[events.t_train]
    assert len(found) == 2


def test_a_run_on_the_log_clock_shows_times_and_losses_by_their_exponents():
    experiment = lr.studies.load("lyu2024/4")
    sweep = Sweep.over(experiment, {"seed": [0]}, 1)
    result = PanelResult("4", sweep, xr.Dataset(), {}, [], [])
    columns = {
        "time": [0.0, 1.0, 1e3, np.nan], "train_log_loss": [1.0, -1.0, -2302.585093, np.nan],
        "normalised_margin": [-1.0, 0.1, 0.2, np.nan],
    }  # fmt: skip
    record = record_of(xr.Dataset({k: ("record", v) for k, v in columns.items()}), result)
    assert record["time"].values.tolist() == [0.0, 1.0, 1e3]
    # What was not recorded has no axes.
    loss, margin = lr.plot.run(record).axes
    assert "log₁₀(1 + t)" in margin.get_xlabel()
    # A loss of e^-2302.6 is 10^-1000, which no float holds.
    exponents = np.asarray(loss.get_lines()[0].get_ydata(), dtype=float)
    np.testing.assert_allclose(exponents, [-0.4343, -1000.0], rtol=1e-4)
    assert margin.get_yscale() == "log"


def test_a_run_of_a_committee_shows_its_baselines_and_how_its_kernel_turns():
    panel = lr.studies.panels("kumar2024")["1"]
    columns = {
        "time": [0.0, 1.0, 1e3], "train_loss": [1.0, 0.9, 0.1], "test_loss": [1.0, 1.2, 0.3],
        "twin_test_loss": [1.0, 1.2, 1.1], "kernel_regression_loss": [0.7, 0.7, 0.7],
        "param_norm": [1.0, 1.0, 7.0], "kernel_alignment_labels": [0.02, 0.02, 0.03],
    }  # fmt: skip
    sweep = Sweep.over(panel.experiment, {"seed": [0]}, 1)
    result = PanelResult("1", sweep, xr.Dataset(), {}, [], [])
    record = record_of(xr.Dataset({k: ("record", v) for k, v in columns.items()}), result)
    first, loss, _, kernel = lr.plot.run(record).axes
    named = ["train", "test", "test, linearised", "test, initial kernel"]
    assert [line.get_label() for line in first.get_lines()] == named
    assert [line.get_label() for line in loss.get_lines()] == named
    turned = np.asarray(kernel.get_lines()[0].get_ydata(), dtype=float)
    np.testing.assert_allclose(turned, [1.0, 1.5])
