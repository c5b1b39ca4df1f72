"""What a user meets first: texts of results, the cache, a run that goes on in its folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import cli
from lazyrich.cli import cache
from tests.test_command_lines import TINY


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    monkeypatch.setattr(sys.modules["lazyrich.cli.run"], "can_draw", lambda: False)
    monkeypatch.setenv("LAZYRICH_CACHE", "off")
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0


def test_texts_are_short_and_markup_in_them_is_harmless():
    name = "<script>alert(1)</script>"
    task = lr.tasks.SparseClassification(n=4, d=6, k=1, num_test=4)
    experiment = lr.Experiment(name=name, task=task, t1=1.0)
    assert str(experiment).splitlines()[0].startswith(f"experiment       {name}, ")
    assert "ReducedFlow to t1 = 1, seed 0" in str(experiment)
    assert experiment._repr_html_().startswith("<pre>experiment       &lt;script&gt;alert(1)")
    assert "<script" not in experiment._repr_html_()
    row = xr.DataArray([0.0], dims="run")
    fit = lr.maps.ScalingFit(
        quantity="t50", against="init_scale", times="weight_decay", slope=1.25,
        slope_interval=(1.0, 1.5), offset=-0.5, offset_interval=(float("nan"), 2.0),
        residuals=row, num_runs=9, num_censored=1, left_out={"none": 2}, clusters="seed",
        num_clusters=3, r_squared=0.75,
    )  # fmt: skip
    assert str(fit).splitlines()[:3] == [
        "fit              weight_decay * t50 = -0.5 + 1.25 log init_scale",
        "slope            1.25, 95 % from 1 to 1.5",
        "offset           -0.5, 95 % from – to 2",
    ]
    for shown in (
        fit,
        lr.maps.Collapse(half=row, before=0.5, after=0.1, num_runs=4),
    ):
        assert len(str(shown)) < 600
        assert shown._repr_html_().startswith("<pre>")


@pytest.mark.slow
def test_a_run_goes_on_in_its_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = TINY.replace('probes = ["train_loss", "test_loss", ', "probes = [")
    (tmp_path / "tiny.toml").write_text(text)
    arguments = ["run", "tiny.toml", "--out", "out", "--no-forecast"]
    assert call(monkeypatch, *arguments) == 0
    assert "also records train_loss, test_loss, which the outcome needs" in capsys.readouterr().err
    first = lr.open_record(tmp_path / "out" / "record.nc")
    assert first["final_parameters"].shape == (12,)
    assert call(monkeypatch, *arguments) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--set", "t1=2.0", "--set", "seed=1") == 2
    assert "differs in more than t1" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--set", "t1=2.0") == 0
    shown = capsys.readouterr()
    assert "continuing from record.nc" in shown.err
    longer = lr.open_record(tmp_path / "out" / "record.nc")
    assert (first.time[-1], longer.time[-1]) == (1.0, 2.0)
    assert (
        json.loads((tmp_path / "out" / "summary.json").read_text())["experiment_hash"]
        == (longer.attrs["experiment_hash"])
    )
    assert lr.Experiment.load(tmp_path / "out" / "experiment.toml").t1 == 2.0


def _clean(monkeypatch, tmp_path):
    for key in (*cache._OF_JAX, cache.SETTING, "XDG_CACHE_HOME"):
        monkeypatch.setenv(key, "")  # so that it is restored
        monkeypatch.delenv(key)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_what_is_compiled_is_kept_for_the_user_only(monkeypatch, tmp_path, capsys):
    _clean(monkeypatch, tmp_path)
    cache.keep_compiled()
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert folder.parent == tmp_path / "lazyrich"
    assert [place.stat().st_mode & 0o777 for place in (folder, folder.parent)] == [0o700] * 2
    # The oldest go beyond the bound.
    monkeypatch.setattr(cache, "_MOST_BYTES", 25)
    for age, name in enumerate(("new", "middle", "old")):
        (folder / name).write_bytes(b"0" * 10)
        os.utime(folder / name, (10**9 - age, 10**9 - age))
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    cache.keep_compiled()
    assert sorted(place.name for place in folder.iterdir()) == ["middle", "new"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["open", "link", "file", "parent"])
def test_a_folder_of_others_is_refused(how, monkeypatch, tmp_path, capsys):
    _clean(monkeypatch, tmp_path)
    folder = tmp_path / "lazyrich" / cache._environment()
    if how == "file":
        (tmp_path / "lazyrich").write_text("")
    elif how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        (tmp_path / "lazyrich").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir(parents=True, mode=0o700)
        (folder if how == "open" else folder.parent).chmod(0o777)
    cache.keep_compiled()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lazyrich: compiled code is not kept: {folder}: ")
    assert "LAZYRICH_CACHE=off" in line


@pytest.mark.parametrize("key", [*cache._OF_JAX, cache.SETTING])
def test_the_users_own_setting_is_left_alone(key, monkeypatch, tmp_path):
    _clean(monkeypatch, tmp_path)
    monkeypatch.setenv(key, "off")
    before = dict(os.environ)
    cache.keep_compiled()
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_package_is_a_command():
    command = [sys.executable, "-m", "lazyrich", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.startswith(lr.studies.names()[0])


@pytest.mark.slow
def test_a_run_of_a_file_shows_the_curves_beside_it(monkeypatch, capsys, tmp_path):
    published = '\n[published]\nsource = "a table"\ncurves = "mine.csv"\n'
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tiny.toml").write_text(TINY + published)
    arguments = ["run", tmp_path / "own" / "tiny.toml", "--out", tmp_path / "out", "--no-forecast"]
    assert call(monkeypatch, *arguments) == 2
    assert "published.curves = 'mine.csv': should be a file in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "own" / "mine.csv").write_text("curve,x,y\ntest_loss,0.5,0.7\n")
    shown, drawn = [], lr.plot.run

    def run(*args, curves, **kwargs):
        shown.append(curves)
        return drawn(*args, curves=curves, **kwargs)

    monkeypatch.setattr(lr.plot, "run", run)
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    monkeypatch.setattr(sys.modules["lazyrich.cli.run"], "can_draw", lambda: True)
    with pytest.raises(SystemExit):
        cli.main()
    assert [curve["test_loss"].tolist() for curve in shown] == [[[0.5], [0.7]]]


# Types are checked in tests and not in a user's session, so the calls are made in a process.
MISTAKEN = """
import sys
import lazyrich as lr
import numpy as np

X, y = np.eye(3), np.array([1.0, -1.0, 1.0])
task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
one = lr.Experiment(task=task)
over = {"seed": [0, 1]}
net = lr.models.MLP(widths=(2,), activation="tanh")
record = lr.record([1, 2], {"train_loss": [2, 1], "test_loss": [2, 1]})
data = lr.tasks.Arrays(x_train=X, y_train=y, x_test=X, y_test=y)


def function(a, b):
    return a


def nothing():
    pass


def with_net(init_params, function=function, wrap=lambda net: net):
    model = wrap(lr.models.Functions(init_params=init_params, function=function))
    return lr.Experiment(task=data, model=model, loss=lr.losses.Squared())


class Pair(lr.tasks.AbstractTask):
    def sample(self, key):
        return X, y


class Keyless(lr.tasks.AbstractTask):
    def sample(self):
        return X, y


for call in sys.stdin.read().splitlines():
    try:
        eval(call)
        print("returned")
    except lr.InputError as error:
        print(error)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""

RECORD = "should be the record of one run, as simulate, record and open_record return it"
EXPERIMENT = "should be an lr.Experiment, such as lr.Experiment(task=...)"
TASK = repr(lr.tasks.SparseClassification(n=6, d=10, num_test=5))
PASSAGE = "should be calibrated, solved or pilot, or left out"
THRESHOLDS = "should be lr.Thresholds(...), such as lr.Thresholds(test=0.9)"
PATH = "should be a path, as text or pathlib.Path"
STORE = "should be a folder or a URL, as text or pathlib.Path"
DATASET = "should be a sweep's dataset, which has the variable `outcome`"
CHANGES = "should be values by dotted key, such as {'task.n': 40}"
CALLED = "should be a function that is called with"
ARRAY = "should be an array, as in model.init(key, dim) or record.params()"
MODEL = "should be called, MLP(...)"
MISTAKES = {
    "lr.transition(one)": f"record = 'Experiment': {RECORD}",
    "lr.summarise({})": f"record = 'dict': {RECORD}",
    "lr.save_record(function, 'a.nc')": f"record = 'function': {RECORD}",
    "lr.torch.diagnose(function)": f"record = 'function': {RECORD}",
    "lr.simulate(task)": f"experiment = {TASK}: {EXPERIMENT}",
    "lr.forecast({})": f"experiment = {{}}: {EXPERIMENT}",
    "lr.sweep(task, over, 'runs')": f"experiment = {TASK}: {EXPERIMENT}",
    "lr.linearise({})": f"experiment = {{}}: {EXPERIMENT}",
    "lr.record([1], {}, {})": f"experiment = {{}}: {EXPERIMENT}",
    "lr.maps.refine({}, over, 'runs')": f"experiment = {{}}: {EXPERIMENT}",
    "lr.simulate_many(function)": "experiments = 'function': should be a list of lr.Experiment",
    "lr.simulate_many([one], params=3)": "params = 3: should be a list with the parameters of each "
    "run",
    "lr.forecast(one, passage='solve')": f"passage = 'solve': {PASSAGE}",
    "lr.sweep(one, over, 'runs', forecast='sovled')": f"passage = 'sovled': {PASSAGE}",
    "lr.sweep(one, function, 'runs')": "over = 'function': should be values by key, such as "
    "{'seed': range(5)}",
    "lr.sweep(one, over, 'runs', workers='two')": "workers = 'two': should be a whole number, 0 or "
    "more",
    "lr.sweeps.estimate(one)": "sweep = 'Experiment': should be an lr.sweeps.Sweep, as of "
    "Sweep.over(experiment, over)",
    "lr.sweeps.sobol(function, 4)": "box = 'function': should be two bounds by key, such as "
    "{'init_scale': (1.0, 10.0)}",
    # Thresholds.
    "lr.transition(record, {'test': 0.9})": f"thresholds = 'dict': {THRESHOLDS}",
    "lr.transition(record, lr.Thresholds)": f"thresholds = 'the class Thresholds': {THRESHOLDS}",
    "lr.summarise(record, function)": f"thresholds = 'function': {THRESHOLDS}",
    "lr.record([1], {'train_loss': [1], 'test_loss': [1]}, thresholds=0.9)": f"thresholds = 0.9: "
    f"{THRESHOLDS}",
    "lr.remaining(record, 0.9)": f"thresholds = 0.9: {THRESHOLDS}",
    "lr.forecast(one, thresholds={})": f"thresholds = 'dict': {THRESHOLDS}",
    # Functions of the user.
    "lr.simulate(one, listener=3)": f"listener = 3: {CALLED} (stage, fraction, note)",
    "lr.simulate(one, listener=nothing)": f"listener = 'nothing': {CALLED} (stage, fraction, note)",
    "lr.simulate(one, watcher=function)": f"watcher = 'function': {CALLED} (record)",
    "lr.forecast(one, watcher=nothing)": f"watcher = 'nothing': {CALLED} (forecast)",
    "lr.sweep(one, over, 'runs', listener=nothing)": f"listener = 'nothing': {CALLED} (progress)",
    "lr.maps.refine(one, over, 'runs', listener=3)": f"listener = 3: {CALLED} (progress)",
    "lr.reproduce('lyu2024', 'runs', listener=3)": f"listener = 3: {CALLED} (panel, progress)",
    "lr.predictors.l1_max_margin(X, y, progress=3)": f"progress = 3: {CALLED} (gap)",
    "lr.predictors.min_nuclear_norm(X, y, 3, progress=3)": f"progress = 3: {CALLED} (gap)",
    "lr.simulate(with_net(nothing))": "model = 'Functions': draws no parameters for 3 inputs: "
    "TypeError: nothing() takes 0 positional arguments but 2 were given",
    "lr.simulate(with_net(lambda key, dim: key.size_))": "model = 'Functions': draws no parameters "
    "for 3 inputs: AttributeError: 'PRNGKeyArray' object has no attribute 'size_'",
    "lr.simulate(with_net(nothing, wrap=lambda net: lr.models.Linearised(model=net)))": "model = "
    "'Linearised': draws no parameters for 3 inputs: TypeError: nothing() "
    "takes 0 positional arguments but 2 were given",
    "lr.simulate(with_net(lambda key, dim: X[0], nothing))": "model = 'Functions': fails on inputs "
    "(3, 3): TypeError: nothing() takes 0 positional arguments but 2 were given",
    "lr.simulate(lr.Experiment(task=Pair()))": "task.sample = 'tuple': should be a function that "
    "returns an lr.tasks.Split",
    "lr.simulate(lr.Experiment(task=Keyless()))": "task = 'Keyless': draws no data: TypeError: "
    "Keyless.sample() takes 1 positional argument but 2 were given",
    "lr.tasks.ModularArithmetic(p=5, operation=nothing).sample(__import__('jax').random.key(0))":
    "operation = '__main__.nothing': should map two integer arrays to one: TypeError: nothing() "
    "takes 0 positional arguments but 2 were given",
    # Nets.
    "lr.kernel.class_kernel(lr.models.MLP, {}, X)": "model = <class 'lazyrich.models.mlp.MLP'>: "
    f"{MODEL}",
    "lr.kernel.kernel_block(net, function, X)": f"params = 'function': {ARRAY}",
    "lr.kernel.kernel_product(net, {'w': 'a'}, y, X)": f"params['w'] = 'str': {ARRAY}",
    "lr.kernel.row_gram(net, {}, function, y)": "x = 'function': should be an array of numbers of "
    "shape (n, d)",
    "lr.kernel.tangent_outputs(net, {}, {}, y)": "x = 'shape (3,)': should be an array of numbers "
    "of shape (n, d)",
    "lr.kernel.kernel_distance(function, X)": "first = 'function': should be an array, a kernel of "
    "shape (n, n)",
    "lr.models.measured_homogeneity(net, {}, y)": "x = 'shape (3,)': should be an array of numbers "
    "of shape (n, d)",
    "lr.models.measured_invariance(net, function, X)": f"params = 'function': {ARRAY}",
    "lr.models.has_invariant_block(net, function, X)": f"params = 'function': {ARRAY}",
    "lr.predictors.margin_kkt(lr.models.MLP, {}, X, y)": "model = <class "
    f"'lazyrich.models.mlp.MLP'>: {MODEL}",
    "lr.predictors.min_norm_kkt(net, function, X, y)": f"params = 'function': {ARRAY}",
    "lr.predictors.tangent_max_margin(net, function, X, y)": f"params = 'function': {ARRAY}",
    # Paths and keys.
    "lr.simulate(one, checkpoint=3.5)": f"checkpoint = 3.5: {PATH}",
    "lr.save_record(record, 3)": f"path = 3: {PATH}",
    "one.save(function)": f"path = 'function': {PATH}",
    "lr.Experiment.load(function)": f"experiment = 'function': {PATH}",
    "lr.open_store(3)": f"store = 3: {STORE}",
    "lr.status(function)": f"store = 'function': {STORE}",
    "lr.sweep(one, over, 3)": f"store = 3: {STORE}",
    "lr.explore(3)": f"SOURCE = 3: {PATH}",
    "lr.studies.load(3)": "experiment = 3: should be the name of a panel, such as lyu2024/1a",
    "lr.studies.panels(function)": f"study = 'function': {PATH}",
    "one.with_changes(['task.n'])": f"changes = 'list': {CHANGES}",
    "one.with_changes({3: 1})": f"changes = 3: {CHANGES}",
    "one.value(3)": "key = 3: should be a dotted key, such as task.n",
    "record.params('end')": "time = 'end': should be a number, or None for the end",
    "record.params(X)": "time = 'ndarray': should be a number, or None for the end",
    "lr.extend(record, one, X)": "t1 = 'ndarray': should be a number",
    # Datasets and figures.
    "lr.sweeps.forecast_runs(None, one, over)": f"dataset = 'NoneType': {DATASET}",
    "lr.sweeps.forecast_scores(function)": f"dataset = 'function': {DATASET}",
    "lr.maps.phase_diagram(function)": f"dataset = 'function': {DATASET}",
    "lr.maps.collapse(function)": f"dataset = 'function': {DATASET}",
    "lr.plot.curves(function, 'seed')": f"dataset = 'function': {DATASET}",
    "lr.plot.scores(function, 'seed')": f"dataset = 'function': {DATASET}",
    "lr.plot.forecasts(function)": f"dataset = 'function': {DATASET}",
    "lr.plot.map(function)": "diagram = 'function': should be a diagram of lr.maps.phase_diagram",
    "lr.plot.map(record)": "diagram = 'another dataset': should be a diagram of "
    "lr.maps.phase_diagram",
    "lr.plot.scaling(function)": "fit = 'function': should be a fit of lr.maps.scaling_fit",
    "lr.plot.forecast(function)": "found = 'function': should be a forecast of lr.forecast",
    "lr.plot.run(record, function)": "forecast = 'function': should be that of lr.forecast, or its "
    "summary",
    "lr.plot.run(function)": "record = 'function': should be a record, or several, as a list or by "
    "name",
    "lr.plot.draw(function)": "figure = 'function': should be a description of lr.plot.describe",
    "lr.plot.plotly(function)": "figure = 'function': should be a description of lr.plot.describe",
}  # fmt: skip


@pytest.mark.slow
def test_arguments_of_another_kind_are_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MISTAKEN],
        input="\n".join(MISTAKES),
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(lr.__file__).parents[1])},
    )
    found = dict(zip(MISTAKES, done.stdout.splitlines(), strict=True))
    assert found == MISTAKES
