"""Data in one piece, from memory and from files: splits, labels, columns."""

import sys
import zipfile
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.cli.settings import resolve
from lazyrich.tasks._data_files import read_table


def parts(task, seed=0, meaning="signs"):
    split = task.sample_for(jr.key(seed), meaning)
    (test,) = list(split.test)
    return split.train, test


def rows(*samples):
    return sorted(tuple(row) for part in samples for row in np.asarray(part.x).tolist())


X = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 1e3, 0.0] + [5.0, -2e3, 7.0]
Y = np.where(X[:, 0] > 5.3, "yes", "no")


def test_every_sample_is_in_one_part_and_seeds_draw_other_splits():
    task = lr.tasks.Arrays.split(X, Y, 15)
    train, test = parts(task)
    assert (len(train.x), len(test.x)) == (15, 25)
    assert rows(train, test) == sorted(map(tuple, X.tolist()))
    # Labels stay with their samples: "no" comes before "yes".
    assert np.array_equal(train.y, np.where(np.asarray(train.x)[:, 0] > 5.3, 1.0, -1.0))
    assert not np.array_equal(train.x, parts(task, 1)[0].x)
    fixed = lr.tasks.Arrays.split(X, Y, 15, seed=3)
    assert np.array_equal(parts(fixed, 0)[0].x, parts(fixed, 1)[0].x)
    assert np.array_equal(parts(fixed)[0].x, parts(task, 3)[0].x)
    few = lr.tasks.Arrays.split(X, Y, 15, num_test=4)
    assert len(parts(few)[1].x) == 4
    assert (task.is_drawn, fixed.is_drawn) == (True, False)


def test_columns_are_standardised_by_training_samples_only():
    raw, _ = parts(lr.tasks.Arrays.split(X, Y, 15))
    train, test = parts(lr.tasks.Arrays.split(X, Y, 15, standardise=True))
    seen = np.asarray(raw.x)
    mean, deviation = seen.mean(0), seen.std(0)
    deviation[2] = 1.0  # the constant column is only shifted
    np.testing.assert_allclose(train.x, (seen - mean) / deviation, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.asarray(train.x)[:, :2].std(0), 1.0, rtol=1e-12)
    held_out = np.asarray(parts(lr.tasks.Arrays.split(X, Y, 15))[1].x)
    np.testing.assert_allclose(test.x, (held_out - mean) / deviation, rtol=1e-12, atol=1e-12)
    assert abs(np.asarray(test.x)[:, 0].mean()) > 1e-3


def test_stratified_parts_hold_each_label_to_a_sample():
    y = np.repeat(["a", "b", "c"], [50, 7, 3])
    x = np.arange(60.0)[:, None]
    for num_train in (3, 10, 30, 57):
        task = lr.tasks.Arrays.split(x, y, num_train, stratify=True)
        train, _ = parts(task, num_train, "classes")
        counts = np.bincount(np.asarray(train.y, int), minlength=3)
        assert counts.sum() == num_train
        assert np.all(counts >= 1)
        if num_train > 3:
            assert np.all(np.abs(counts - np.array([50, 7, 3]) * num_train / 60) <= 1)


@pytest.mark.parametrize(
    ("labels", "meaning", "values", "said"),
    [
        ([0, 1, 1, 0], "signs", [-1, 1, 1, -1], "0 is -1, 1 is 1"),
        ([2.5, 1.5, 1.5, 2.5], "signs", [1, -1, -1, 1], "1.5 is -1, 2.5 is 1"),
        ([True, False, False, True], "signs", [1, -1, -1, 1], "0 is -1, 1 is 1"),
        ([-1, 1, 1, -1], "signs", [-1, 1, 1, -1], ""),
        (["b", "a", "a", "b"], "signs", [1, -1, -1, 1], "a is -1, b is 1"),
        (["b", "a", "c", "b"], "classes", [1, 0, 2, 1], "a is 0, b is 1, c is 2"),
        ([3, 5, 9, 3], "classes", [0, 1, 2, 0], "3 is 0, 5 is 1, 9 is 2"),
        ([0, 2, 1, 0], "classes", [0, 2, 1, 0], ""),
        ([0, 1, 1, 0], "reals", [0, 1, 1, 0], ""),
        (["b", "a", "a", "b"], "reals", [1, -1, -1, 1], "a is -1, b is 1"),
    ],
)
def test_labels_are_mapped_and_said(labels, meaning, values, said):
    x = np.arange(4.0)[:, None]
    task = lr.tasks.Arrays.split(x, labels, 2)
    found: dict[float, float] = {}
    for part in parts(task, 0, meaning):
        found |= dict(
            zip(np.asarray(part.x)[:, 0].tolist(), np.asarray(part.y).tolist(), strict=True)
        )
    assert [found[i] for i in range(4)] == values
    assert task.mapping(meaning) == said
    # One label for each sample may have a second axis.
    column = lr.tasks.Arrays.split(x, np.array(labels)[:, None], 2)
    assert column.mapping(meaning) == said
    for one, other in zip(parts(column, 0, meaning), parts(task, 0, meaning), strict=True):
        assert np.array_equal(one.y, other.y)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"y": ["a", "b", "c", "a"]},
            "task.y = '3 different labels: a, b, c': should be two different labels; use loss "
            "CrossEntropy for more classes",
        ),
        (
            {"y": [0.5, -1.5, 2.0, 2.0]},
            "task.y = '3 different labels: -1.5, 0.5, 2': should be two different labels; use "
            "loss CrossEntropy for more classes, or loss Squared for numbers",
        ),
        ({"y": ["a"] * 4}, "task.y = 'a': there is only one label; two different ones are needed"),
        (
            {"y": [0.5, -1.5, 2.5, 2.5], "stratify": True},
            "stratify = True: needs labels that are classes, and y has 3 different numbers: leave "
            "it out for a regression",
        ),
        (
            {"y": ["a", "b", "c", "a"], "stratify": True},
            "num_train = 2: should be 3 or more: one sample of each label",
        ),
        ({"y": [1, 1, 1]}, "y = (3,): should have a label for each of 4 inputs"),
        ({"x": [[1, np.nan]] * 4}, "x[0, 1] = nan: should be finite"),
        ({"x": [["red"]] * 4}, "x = 'str"),
        ({"x": np.ma.masked_greater(np.eye(4), 0.5)}, "x = '4 masked entries': should have none"),
        ({"num_train": 4}, "num_train = 4: should leave 1 or more of 4 samples"),
        ({"y": [["a", "b"]] * 4}, "y = (4, 2): should be 1-dimensional"),
        (
            {"y": [None] * 4},
            "y = 'object': should be an array of real numbers or of words: convert it by "
            ".astype(float)",
        ),
        (
            {"y": np.array(["a", "b"] * 2, "S")},
            "y = 'bytes8': should be an array of real numbers or of words: convert it by "
            ".astype(str)",
        ),
        (
            {"y": np.array([1j, 0] * 2)},
            "y = 'complex128': should be an array of real numbers or of words: take its real part",
        ),
    ],
)
def test_what_cannot_be_split_is_one_line(fields, line):
    given = {"x": np.eye(4), "y": [0, 1, 0, 1], "num_train": 2, **fields}
    with pytest.raises(lr.InputError) as error:
        parts(lr.tasks.Arrays.split(**given))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["U", "S", object])
def test_labels_of_arrays_that_are_words_name_what_accepts_words(dtype, tmp_path):
    y = np.array(["yes", "no"] * 2, dtype)
    given: dict[str, Any] = {"x_train": np.eye(4), "x_test": np.eye(4), "y_test": [0, 1, 0, 1]}
    given["y_train"] = y
    with pytest.raises(lr.InputError) as error:
        lr.tasks.Arrays(**given)
    line = str(error.value)
    assert line.startswith("y_train = 'words (")
    assert "lr.tasks.Arrays.split accepts words" in line
    # Both ways that the line names lead on.
    assert ("accepts words converted by .astype(str), or" in line) == (dtype == "S")
    words = y.astype(str) if dtype == "S" else y
    assert lr.tasks.Arrays.split(np.eye(4), words, 2).mapping("signs") == "no is -1, yes is 1"
    given["y_train"] = np.unique(y, return_inverse=True)[1]
    assert np.array_equal(lr.tasks.Arrays(**given).y_train, [1, 0, 1, 0])
    # From a file: text has the same line, objects are not read.
    np.savez(tmp_path / "a.npz", **{**given, "y_train": y})
    with pytest.raises(lr.InputError) as error:
        lr.tasks.Arrays.load(tmp_path / "a.npz")
    way = "by .astype(float) or .astype(str)" if dtype is object else "Arrays.split accepts words"
    assert way in str(error.value)


def test_labels_that_are_truth_values_mean_the_same_at_every_door(tmp_path):
    y = np.array([True, False, True, True])
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(y)))
    np.savez(tmp_path / "t.npz", x=np.arange(4.0)[:, None], y=y)
    right = parts(lr.tasks.Arrays.split(np.arange(4.0)[:, None], [1, -1, 1, 1], 2, seed=1))
    tables: list[Any] = [
        {"x": np.arange(4.0)[:, None], "y": y},
        *(lr.tasks.SplitArrays.read(tmp_path / name) for name in ("t.csv", "t.npz")),
    ]
    for table in tables:
        task = lr.tasks.SplitArrays(**table, num_train=2, split_seed=1)
        for one, other in zip(parts(task), right, strict=True):
            assert np.array_equal(one.y, other.y)
            assert np.array_equal(one.x, other.x)


def test_tables_are_read_with_and_without_header(tmp_path):
    place = tmp_path / "t.csv"
    place.write_text('\ufeffsize;kind;weight\n1,5;"a";3\n'.replace(",", ".") + "2;b;4\n\n")
    found = read_table(place, "kind")
    assert found["x"].tolist() == [[1.5, 3], [2, 4]]
    assert found["y"].tolist() == ["a", "b"]
    place.write_text("1,2,0\n3,4,1\n")
    assert read_table(place, None)["y"].tolist() == [0, 1]
    assert read_table(place, 0)["x"].tolist() == [[2, 0], [4, 1]]
    place.write_text("a,b,c\n1,2,0\n3,4,1\n")
    assert read_table(place, None)["x"].tolist() == [[1, 2], [3, 4]]
    np.savez(tmp_path / "t.npz", X=np.eye(3), kind=["a", "b", "a"])
    assert read_table(tmp_path / "t.npz", "kind")["y"].tolist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("text", "label", "words"),
    [
        ("a,b\n1,2\n3\n", None, "line 3 has 1 entries, but the first line has 2"),
        ("a,b\n1,x\nNA,y\n", "b", "line 3, a: 'NA' should be a number"),
        ("a,b\n1,x\nnan,y\n", "b", "line 3, a: 'nan' should be a number"),
        ("a,b\n1,2\n3,inf\n", "b", "line 3, b: 'inf' should be a number"),
        ("a,b\n1,\n", "b", "lacks a label in line 2, b"),
        # Blank lines, and lines inside of quotes, are lines of the file.
        ("\n\na,b\n\n1,2\n\n3\n", None, "line 7 has 1 entries, but the first line has 2"),
        ("a,b\n\n1,x\n,\nNA,y\n", "b", "line 5, a: 'NA' should be a number"),
        ('a,b\n1,"x\nz"\n2,\n', "b", "lacks a label in line 4, b"),
        ("a,b\n", "b", "has a header but no samples"),
        ("", None, "has no lines"),
        ("1\n2\n", None, "should have two or more columns"),
        ("a,b\n1,2\n", "c", "should be one of the columns a, b"),
        ("1,2\n", 5, "or its number from 0 to 1"),
        ("1,2\n", True, "should be the name of a column"),
    ],
)
def test_a_bad_table_is_one_line(text, label, words, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    table = {"path": "t.csv", "num_train": 1} | ({} if label is None else {"label": label})
    with pytest.raises(lr.InputError) as error:
        lr.Experiment.from_table({"task": table}, tmp_path)
    assert words in str(error.value)
    assert str(error.value).startswith("task.")
    assert "\n" not in str(error.value)


def test_archives_are_read_without_pickle_and_without_believing_headers(tmp_path):
    np.savez(tmp_path / "p.npz", x=np.array([{}], dtype=object), y=[1])
    with pytest.raises(lr.InputError, match=r"\.npz"):
        read_table(tmp_path / "p.npz", None)
    np.savez(tmp_path / "q.npz", x=np.eye(2), z=[1])
    with pytest.raises(lr.InputError, match=r"lacks y; it holds x, z"):
        read_table(tmp_path / "q.npz", None)
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10**12, 9)}"
    header = header.replace(b"10**12", b"1000000000000").ljust(127) + b"\n"
    with zipfile.ZipFile(tmp_path / "h.npz", "w") as archive:
        archive.writestr("x.npy", header + b"\0" * 64)
        archive.writestr("y.npy", header + b"\0" * 64)
    with pytest.raises(lr.InputError, match="72,000,000,000,000 bytes, but has 64"):
        read_table(tmp_path / "h.npz", None)
    with pytest.raises(lr.InputError, match=r"CSV or \.npz file .*is a folder"):
        read_table(tmp_path, None)


def test_content_and_fields_are_the_identity_and_survive_a_file(tmp_path):
    task = lr.tasks.Arrays.split(X, Y, 15, standardise=True)
    experiment = lr.Experiment(task=task, t1=1.0)
    experiment.save(tmp_path / "e.toml")
    again = lr.Experiment.load(tmp_path / "e.toml")
    assert again == experiment
    assert again.content_hash == experiment.content_hash
    others = [
        lr.tasks.Arrays.split(X, Y, 16, standardise=True),
        lr.tasks.Arrays.split(X, Y, 15),
        lr.tasks.Arrays.split(X, Y, 15, 0, standardise=True),
        lr.tasks.Arrays.split(X + 1, Y, 15, standardise=True),
    ]
    hashes = {lr.Experiment(task=other, t1=1.0).content_hash for other in (task, *others)}
    assert len(hashes) == 5


@pytest.mark.slow
def test_a_sweep_over_seeds_draws_other_splits(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], size=(60, 20))
    task = lr.tasks.Arrays.split(x, (x[:, 0] > 0).astype(int), 12)
    experiment = lr.Experiment(
        task=task, t1=20.0, init_scale=3.0, times=lr.dynamics.Times(num_log=10, num_linear=0)
    )
    runs = lr.sweep(experiment, {"seed": range(3)}, tmp_path / "store", workers=0)
    ends = runs["test_loss"].isel(time=-1).values if "time" in runs.dims else None
    ends = runs["late_test_loss"].values if ends is None else ends
    assert len(set(np.round(ends, 12).tolist())) == 3
    again = lr.open_store(tmp_path / "store")
    assert again.sizes == runs.sizes
    record = lr.simulate(experiment)
    assert record.attrs["labels"] == "0 is -1, 1 is 1"


def test_a_model_of_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "doors_own.py").write_text(
        "import jax.numpy as jnp\n"
        "def pair():\n"
        "    return (lambda key, dim: jnp.ones(dim)), (lambda p, x: x @ p)\n"
        "def three():\n    return 3\n"
        "def broken():\n    raise OSError('no\\nfile')\n"
        "def ends():\n    raise SystemExit(3)\n"
        "def speaks():\n    print('made')\n    return pair()\n"
    )
    (tmp_path / "t.csv").write_text("a,b\n1,0\n2,1\n3,1\n")
    table = '[task]\npath = "t.csv"\nnum_train = 1\n[model]\nkind = "doors_own:pair"\n'
    (tmp_path / "t.toml").write_text(table)
    found = resolve("t.toml", ["model=doors_own:pair", "t1=2.0"])
    assert type(found.model).__name__ == "Functions"
    assert (found.t1, found.value("task.num_train")) == (2.0, 1)
    panel = resolve("lyu2024/1a", ["model=doors_own:pair", "task.path=t.csv", "task.num_train=2"])
    assert panel.value("task.num_train") == 2
    for settings, line in (
        (
            [],
            "model.kind = 'doors_own:pair': is code, and a file cannot make lazyrich run code",
        ),
        (["model=doors_own:absent"], "model = 'doors_own:absent': should be a function without"),
        (["model=doors_own:broken"], "model = 'doors_own:broken': should be a function without"),
        (["model=doors_own:ends"], "model = 'doors_own:ends': should be a function without"),
        (["model=absent_module:f"], "model = 'absent_module:f': should be a function without"),
        (["model=MLP"], "model = 'MLP': should be module:function"),
        (["model=os:system('x')"], "model = \"os:system('x')\": should be module:function"),
        (["model=doors_own:pair", "model.depth=3"], "model.depth = 3: is for built-in models"),
    ):
        with pytest.raises(lr.InputError) as error:
            resolve("t.toml", settings)
        assert str(error.value).startswith(line)
        assert "\n" not in str(error.value)
    # Standard output is for the command's own object.
    resolve("t.toml", ["model=doors_own:speaks"])
    assert capsys.readouterr() == ("", "made\n")


@pytest.mark.slow
def test_a_model_without_an_exact_flow_is_followed_by_default():
    task = lr.tasks.SparseClassification(n=8, d=20, num_test=8)
    net = lr.Experiment(task=task, model=lr.models.MLP(widths=(4,)), t1=1.0)
    assert net.dynamics == lr.dynamics.Flow()
    named = lr.Experiment(task=task, model=net.model, t1=1.0, dynamics=lr.dynamics.Flow())
    assert net.content_hash == named.content_hash
    diagonal = lr.Experiment(task=task, t1=1.0)
    assert diagonal.dynamics == lr.dynamics.ReducedFlow()
    # The hash that this experiment had before models were asked.
    assert diagonal.content_hash[:16] == "48d58e9ba0cdbaa3"
    tight = diagonal.with_changes({"dynamics.rtol": 1e-6})
    assert tight.with_changes({"model.depth": 3}).dynamics == tight.dynamics
    assert tight.with_changes({"model.kind": "MLP"}).dynamics == lr.dynamics.Flow()
    with pytest.raises(lr.InputError, match="does not support model MLP; leave dynamics out"):
        tight.with_changes({"model.kind": "MLP", "dynamics.kind": "ReducedFlow"})
    record = lr.simulate(net)
    assert record.attrs["ending"] == "completed"


def test_a_setting_changes_how_the_files_data_are_read(tmp_path):
    # Column 0 holds 0 to 39, column 1 its parity, column 2 whether it is 20 or more.
    lines = [f"{i},{i % 2},{int(i >= 20)}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["size,odd,large", *lines]))
    file = tmp_path / "t.toml"
    file.write_text('[task]\npath = "t.csv"\nnum_train = 10\n')
    settings = ["task.num_train=15", "task.standardise=true", "task.label=odd", "seed=1"]
    found = resolve(str(file), settings)
    numbers = np.arange(40.0)
    x = np.stack([numbers, numbers >= 20], axis=1)
    expected = lr.tasks.Arrays.split(x, numbers % 2, 15, standardise=True)
    assert found.task == expected
    assert (found.seed, resolve(str(file), []).value("task.num_train")) == (1, 10)
    loaded = lr.Experiment.load(file)
    more = loaded.with_changes({"task.num_train": 15}, tmp_path)
    assert more.task == loaded.task.model_copy(update={"num_train": 15})
    with pytest.raises(lr.InputError, match=r"task\.num_trian = 3: .*did you mean num_train"):
        resolve(str(file), ["task.num_trian=3"])
    # A sweep has read the file before its keys vary.
    for key, values in (("task.label", ["odd", "large"]), ("task.path", ["t.csv", "u.csv"])):
        with pytest.raises(lr.InputError, match=rf"{key} = .*data are read once: .*--set {key}="):
            lr.sweep(loaded, over={key: values}, store=tmp_path / "store")


@pytest.mark.parametrize("where", ["model", "params"])
def test_what_is_no_number_at_the_start_is_named(where):
    x, y = np.eye(4, 3), np.array([1.0, -1.0, 1.0, -1.0])

    def roots(p, x):
        return jnp.sqrt(x @ p)

    linear = lr.models.Functions(init_params=lambda key, dim: -jnp.ones(dim), function=roots)
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        model=linear if where == "model" else lr.models.DiagonalLinear(),
    )
    said = r"^model = 'output nan': .* sample 0" if where == "model" else r"^params.* = nan"
    start = None
    if where == "params":
        start = lr.models.DiagonalParams(jnp.ones(3), jnp.array([1.0, jnp.nan, 1.0]))
    with pytest.raises(lr.InputError, match=said):
        lr.simulate(experiment, params=start)
