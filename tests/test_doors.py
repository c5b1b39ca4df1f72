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
import lazyrich as lr
task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
one = lr.Experiment(task=task)
over = {"seed": [0, 1]}
for call in (
    lambda: lr.transition(one),
    lambda: lr.summarise({}),
    lambda: lr.simulate(task),
    lambda: lr.forecast({}),
    lambda: lr.sweep(task, over, "runs"),
    lambda: lr.forecast(one, passage="solve"),
    lambda: lr.sweep(one, over, "runs", forecast="sovled"),
    lambda: lr.sweeps.forecast_runs(None, one, over, passage="solve"),
):
    try:
        call()
    except lr.InputError as error:
        print(error)
"""


@pytest.mark.slow
def test_arguments_of_another_kind_are_one_line():
    command = [sys.executable, "-c", MISTAKEN]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    record = "should be the record of one run, as simulate, record and open_record return it"
    experiment = "should be an lr.Experiment, such as lr.Experiment(task=...)"
    passage = "should be calibrated, solved or pilot, or left out"
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    assert done.stdout.splitlines() == [
        f"record = 'Experiment': {record}",
        f"record = 'dict': {record}",
        f"experiment = {task!r}: {experiment}",
        f"experiment = {{}}: {experiment}",
        f"experiment = {task!r}: {experiment}",
        f"passage = 'solve': {passage}",
        f"passage = 'sovled': {passage}",
        f"passage = 'solve': {passage}",
    ]
