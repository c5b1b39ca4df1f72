"""Command lines, files and experiments by the hundred: each ends as documented, in one line."""

import json
import random
import sys
import time
import warnings
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from lazyrich import cli

TINY = """
t1 = 1.0
probes = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]
[task]
kind = "SparseClassification"
n = 4
d = 6
k = 1
num_test = 4
[times]
first = 0.1
num_log = 2
num_linear = 0
[dynamics]
kind = "ReducedFlow"
max_steps = 300
"""
# Seconds without a word of progress that a user may be left; of the processor, because on a busy
# machine the same work takes longer.
PATIENCE = 60.0


def ending(arguments, monkeypatch, capsys):
    """The exit code and the last line of stderr; anything that has no name is raised."""
    monkeypatch.setattr(sys, "argv", ["lazyrich", *arguments])
    # Figures take seconds.
    monkeypatch.setattr(sys.modules["lazyrich.cli.run"], "can_draw", lambda: False)
    monkeypatch.setenv("LAZYRICH_CACHE", "off")
    monkeypatch.setenv("LAZYRICH_TRACEBACK", "1")
    capsys.readouterr()
    begun, line = time.process_time(), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cli.main()
        code: Any = 0
    except SystemExit as error:
        code = error.code or 0
    except lr.ComputationError as error:
        code, line = 1, f"lazyrich: {error}"
    shown = capsys.readouterr()
    assert time.process_time() - begun < PATIENCE, arguments
    assert code in (0, 1, 2), arguments
    assert "Traceback" not in shown.err, arguments
    if line is None:
        lines = shown.err.strip().splitlines() or [""]
        line = lines[-1]
    if code == 2 and "Usage:" not in shown.err:
        assert line.startswith("lazyrich: "), (arguments, line)
        assert len(line) < 2000, arguments
    if code == 1:
        assert "\n" not in line
    return code, line


VALUES = ("-1", "0", "nan", "inf", '"x"', "[]", "{}", "true", "1e400", "")
KEYS = (
    "name", "init_scale", "weight_decay", "divide_loss", "t1", "seed", "task.kind", "task.n",
    "task.num_test", "model.kind", "model.depth", "loss.kind", "dynamics.kind", "dynamics.rtol",
    "times.num_log", "probes",
)  # fmt: skip
OTHERS = (
    ["run"],
    ["run", "tiny.toml", "--row", "1"],
    ["run", "absent.nc", "--row", "0"],
    ["run", "absent.toml"],
    ["run", "tiny.toml", "--set", "model=MLP"],
    ["run", "tiny.toml", "--set", "model=absent_module:net"],
    ["run", "tiny.toml", "--set", "task.path=absent.csv"],
    ["run", "tiny.toml", "--set", "task.path=."],
    ["run", "tiny.toml", "--data", "."],
    ["run", "tiny.toml", "--absent"],
    ["sweep", "tiny.toml", "--store", "s"],
    ["sweep", "tiny.toml", "--store", "s", "--over", "init_scale=log:0:1:3", "--workers", "0"],
    ["sweep", "tiny.toml", "--store", "s", "--over", "absent=1,2", "--workers", "0"],
    ["sweep", "tiny.toml", "--store", "tiny.toml", "--over", "seed=0", "--workers", "0"],
    ["status", "absent"],
    ["consolidate", "absent", "o.zarr"],
    ["reproduce", "absent"],
    ["forecast", "absent"],
    ["forecast", "tiny.toml", "--samples", "0"],
    ["list"],
    ["report", "absent"],
    ["report", "tiny.toml"],
    ["judge", "tiny.toml"],
    ["judge", "absent.csv", "--column", "step"],
    ["explore", "absent"],
    ["explore", "absent.toml", "--no-browser"],
    ["explore", "--port", "70000"],
)
LINES = [
    ["run", "tiny.toml", "--no-forecast", "--set", f"{key}={value}"]
    for key in KEYS
    for value in VALUES
] + [list(line) for line in OTHERS]
FILES = (
    "", "t1", "t1 = ", "= 1", "[task", "[task]", "task = 1", 'task = "Arrays"', "[[task]]",
    '[task]\nkind = "Arrays"', '[task]\nkind = "Arrays"\npath = 3', "\x00", "\ufeff" + TINY,
    '[task]\nkind = "SplitArrays"\npath = "a.npz"', "probes = 3\n" + TINY.replace("probes", "#"),
    TINY + "\n[model]\nkind = 3", TINY + "\n[model]\nkind = []", TINY + "\n[model]\nkind = 'a:b'",
    TINY + "\n[published]\nabsent = 1", "a" + "." * 1000 + "b = 1", "x = " + "[" * 2000,
    TINY.replace("t1 = 1.0", "t1 = 1979-05-27"), TINY.replace("n = 4", "n = 4\nn = 5"),
)  # fmt: skip

DTYPES = ("float64", "float32", "float16", ">f8", "int8", "uint8", "int64", "bool", "complex128",
          "U3", "datetime64[s]", "longdouble", "object", "i4, f8")  # fmt: skip
LABELS = ("signs", "bits", "words", "three", "constant", "nan", "rows", "objects", "column",
          "unsigned", "halves", "swapped", "one", "none", "empty")  # fmt: skip
SCALES = ("1e-300", "1e-12", "1.0", "1e12", "1e100", "1e300", "5e-324")
EXTREMES = (
    "init_scale={}", "weight_decay={}", "t1={}", "dynamics.rtol={}", "times.first={}",
    "dynamics.kind=Flow init_scale={}", "dynamics.kind=Flow weight_decay={}",
    "dynamics.kind=Flow t1={}", "dynamics.kind=GradientDescent init_scale={}",
    "model.kind=MLP model.widths=[2] init_scale={}", "loss.kind=Squared init_scale={}",
)  # fmt: skip


def _write(place):
    (place / "tiny.toml").write_text(TINY)


def run_line(arguments, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    _write(place)
    return ending(arguments, monkeypatch, capsys)


def run_file(text, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (place / "file.toml").write_bytes(text.encode())
    return ending(["run", "file.toml", "--no-forecast", "--set", "t1=1.0"], monkeypatch, capsys)


def run_arrays(dtype, labels, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    rng = np.random.default_rng(0)
    x = rng.choice([1, 2, 3], size=(8, 3)).astype("int64").astype(dtype)
    y: Any = {
        "signs": [-1, 1] * 4,
        "bits": [0, 1] * 4,
        "words": ["a", "b"] * 4,
        "three": [0, 1, 2, 1] * 2,
        "constant": [1] * 8,
        "nan": [np.nan, 1] * 4,
        "rows": [[1, 0]] * 8,
        "objects": np.array([None, {}] * 4, dtype=object),
        "column": [[-1.0], [1.0]] * 4,
        "unsigned": np.array([0, 2**64 - 1] * 4, dtype=np.uint64),
        "halves": np.array([-1, 1] * 4, dtype=np.float16),
        "swapped": np.array([-1, 1] * 4, dtype=">f8"),
        "one": 1.0,
        "none": np.array(None, dtype=object),
        "empty": [],
    }[labels]
    np.savez(place / "a.npz", x=x, y=y)
    toml = TINY.replace('kind = "SparseClassification"', 'path = "a.npz"\nnum_train = 4')
    toml = "\n".join(line for line in toml.splitlines() if line[:4] not in ("n = ", "d = ", "k = "))
    (place / "file.toml").write_text(toml)
    return ending(["run", "file.toml", "--no-forecast"], monkeypatch, capsys)


def run_extreme(settings, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    _write(place)
    given = [word for setting in settings.split() for word in ("--set", setting)]
    if "Flow" in settings or "MLP" in settings:
        given += ["--set", "dynamics.kind=Flow", "--set", "dynamics.max_steps=300"]
    return ending(["run", "tiny.toml", "--no-forecast", *given], monkeypatch, capsys)


CASES = (
    [(run_line, (line,)) for line in LINES]
    + [(run_file, (text,)) for text in FILES]
    + [(run_arrays, (dtype, labels)) for dtype in DTYPES for labels in LABELS]
    + [(run_extreme, (e.format(s),)) for e in EXTREMES for s in SCALES]
)
SAMPLE = random.Random(4).sample(CASES, 20)


def test_there_are_hundreds():
    assert len(LINES) + len(FILES) >= 170
    assert len(DTYPES) * len(LABELS) == 210
    assert len(EXTREMES) * len(SCALES) == 77


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: json.dumps(case[1])[:60])
def test_a_sample_of_them(case, tmp_path, monkeypatch, capsys):
    run, arguments = case
    run(*arguments, tmp_path, monkeypatch, capsys)


@pytest.mark.battery
@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case[1])[:60])
def test_all_of_them(case, tmp_path, monkeypatch, capsys):
    run, arguments = case
    run(*arguments, tmp_path, monkeypatch, capsys)
