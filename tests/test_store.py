"""The store: files that are whole or not there, and the datasets that they come to."""

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
import tomllib
import uuid
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import jaxtyping
import numpy as np
import pytest
import xarray as xr
import zarr

import lazyrich as lr
from lazyrich._run.simulate import simulate_batch
from lazyrich.records.summary import summarise
from lazyrich.records.transition import CODES
from lazyrich.sweeps import Sweep, batches
from lazyrich.sweeps._execution import run_sweep, worker_pool
from lazyrich.sweeps._execution.batch import Job, rerun, run_batch
from lazyrich.sweeps._store import Damaged, Results, Store, dataset, record_of
from lazyrich.sweeps._store.batch_file import from_bytes, to_bytes
from lazyrich.sweeps._store.folder import Folder
from lazyrich.sweeps._store.sealed import seal, summary_of, unseal
from lazyrich.sweeps._store.table import Layout
from tests.test_sweep import tiny_experiment

BASE = tiny_experiment()
OVER: Any = {"init_scale": [1.0, 3.0], "seed": range(3)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with a sweep of six runs in three files."""
    path = tmp_path_factory.mktemp("store") / "whole"
    lr.sweep(BASE, OVER, path, workers=0, batch_size=2)
    return path


@pytest.fixture
def store(whole, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def run(over: Any, store: Any, **options: Any) -> xr.Dataset:
    return lr.sweep(BASE, over, store, workers=0, **{"batch_size": 2, **options})


def files(store: Path) -> list[Path]:
    return sorted((store / "batches").glob("*.nc"))


def stamps(store: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in files(store)}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def tree(folder: Path) -> str:
    """A hash of every name and byte under a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def left_over(folder: Path) -> list[str]:
    """Files that someone began to write."""
    return [path.name for path in folder.rglob(".*")]


# --- Sealed files. ---


def results() -> Results:
    nan = np.nan
    return Results(
        runs=np.array([4, 2**40]),
        hashes=["0" * 64, "f" * 64],
        outcomes=["grokked", "failed"],
        endings=["completed", "failed"],
        numbers={"t50": np.array([-0.0, nan]), "late_é": np.array([np.inf, 5e-324])},
        times=np.array([[0.0, 1.0, nan], [nan, nan, nan]]),
        curves={"test_loss": np.array([[1.0, 0.1, nan], [nan, nan, nan]])},
        words={"t50": {"long_name": "λ₂ „t“\n", "units": "1"}},
        about={"errors": {"1": "ValueError: größer\x00"}, "seconds": 0.5, "x": [None, True]},
    )


def same_results(ours: Results, theirs: Results) -> bool:
    def bits(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.shape, str(value.dtype), value.tobytes()
        if isinstance(value, dict):
            return {key: bits(item) for key, item in value.items()}
        return value

    return bits(vars(ours)) == bits(vars(theirs))


def test_a_batch_comes_back_to_the_last_bit():
    assert same_results(from_bytes(to_bytes(results(), "a.nc"), "a.nc"), results())
    nothing = replace(results(), numbers={}, curves={}, times=np.empty((2, 0)))
    assert same_results(from_bytes(to_bytes(nothing, "a.nc")), nothing)


def test_every_cut_and_every_change_is_noticed():
    data = to_bytes(results(), "a.nc")
    rng = np.random.default_rng(0)
    tail = len(data) - 700  # all of the summary and the checksums, and some of the rest
    lengths = {*range(tail, len(data)), *rng.integers(0, tail, 300).tolist(), 0}
    for length in lengths:
        with pytest.raises(Damaged):
            unseal(data[:length])
    places = {*range(tail, len(data)), *rng.integers(0, tail, 300).tolist(), 0}
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(Damaged):
            unseal(bytes(changed))
    with pytest.raises(Damaged):
        unseal(data + b"x")


def test_the_summary_checks_itself():
    # So a look at the last bytes of a file is enough to trust what they say.
    data = seal(b"payload", {"a": 1, "b": "é"})
    assert summary_of(data[7:]) == summary_of(data) == {"a": 1, "b": "é"}
    assert summary_of(data[8:]) is None
    # All but the checksum of the whole file, which is not looked at.
    for place in (*range(7, len(data) - 40), *range(len(data) - 8, len(data))):
        changed = bytearray(data)
        changed[place] ^= 0x01
        with contextlib.suppress(Damaged):
            assert summary_of(bytes(changed)) is None  # a length that is not there


@pytest.mark.slow
def test_a_file_is_netcdf_to_others(whole):
    (path, *_) = files(whole)
    with xr.open_dataset(path, engine="h5netcdf") as file:
        assert file["numbers"].dims == ("run", "number")
        assert file["curves"].dims == ("run", "curve", "record")
        kept = Store(whole).read(path.name)
        losses = file["curves"].sel(curve="test_loss").values
        np.testing.assert_array_equal(losses, kept.curves["test_loss"])
        np.testing.assert_array_equal(file["run"].values, kept.runs)
        np.testing.assert_array_equal(file["numbers"].sel(number="t50"), kept.numbers["t50"])
        meanings = file["outcome"].attrs["flag_meanings"].split()
        assert [meanings[code] for code in file["outcome"].values] == kept.outcomes


def rows(head: str) -> list[list[str]]:
    """The rows of a table on the page of the store, without the last column; words in code only."""
    page = (Path(__file__).parent.parent / "docs" / "reference" / "store.md").read_text()
    (table,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    cells = [line.strip("| ").split(" | ")[:-1] for line in table.splitlines()]
    return [[cell.replace("`", "") for cell in row] for row in cells]


def types(table: dict[str, Any]) -> list[list[str]]:
    """Keys and the words of the page for the types of their values."""
    words = {str: "string", list: "list", dict: "table", int: "number", float: "number"}
    return [[key, words[type(value)]] for key, value in table.items()]


def test_the_page_of_the_store_names_what_files_contain(whole):
    about = json.loads((whole / "store.json").read_text())
    assert [*about] == ["format", "lazyrich_version"]
    (sweep,) = (whole / "sweeps").glob("*.toml")
    assert [[key] for key in tomllib.loads(sweep.read_text())] == rows("key of the sweep")
    path = files(whole)[0]
    with h5py.File(path) as file:
        arrays = []
        for name, array in file.items():
            kind = "string" if array.dtype.hasobject else str(array.dtype)
            arrays.append([name, kind, ", ".join(key for dim in array.dims for key in dim) or name])
        assert sorted(arrays) == sorted(rows("array"))
        assert sorted([name] for name in file.attrs) == sorted(rows("attribute"))
        about = types(json.loads(file.attrs["about"]))
    # The last row of these tables is what only a sweep with forecasts has.
    *others, forecast = rows("key of `about`")
    assert sorted(about) == sorted(others)
    assert forecast == ["forecast", "table"]
    *others, forecast = rows("key of the summary")
    assert sorted(types(unseal(path.read_bytes()).summary)) == sorted(others)
    assert forecast == ["forecast", "string"]


@pytest.mark.slow
def test_a_file_has_all_that_produced_it(whole):
    kept = Store(whole).read(files(whole)[1].name)
    again = rerun(kept)
    assert [e.content_hash for e in again] == kept.hashes
    assert {e.seed for e in again} == {1}
    stacked = simulate_batch(again)
    for name, values in stacked.values.items():
        assert values.tobytes() == kept.curves[name].tobytes()
    about = kept.about
    assert about["environment"]["XLA_FLAGS"] == os.environ["XLA_FLAGS"]
    assert about["versions"]["jax"] == about["machine"]["jax"]
    assert about["seconds"] > 0
    assert about["errors"] == {}


# --- The dataset of a sweep. ---


def test_numbers_are_those_of_each_run_alone(whole):
    found = lr.open_store(whole)
    assert found.sizes["init_scale"] == 2
    assert found.sizes["seed"] == 3
    for scale in OVER["init_scale"]:
        for seed in OVER["seed"]:
            experiment = BASE.with_changes({"init_scale": scale, "seed": seed})
            record = lr.simulate(experiment)
            summary = summarise(record)
            cell = found.sel(init_scale=scale, seed=seed)
            assert str(cell["experiment_hash"].values) == experiment.content_hash
            assert str(cell["outcome"].values) == summary["outcome"]
            assert str(cell["ending"].values) == summary["ending"]
            for curve in ("time", *BASE.probes):
                name = str(curve)
                np.testing.assert_array_equal(cell[name].values, record[name].values)
            pairs = {
                field.name: summary[field.name]
                for field in dataclasses.fields(lr.Transition)
                if field.type in (float, bool) and field.name != "logged"
            }
            for when in ("early", "late"):
                pairs |= {f"{when}_{name}": value for name, value in summary[when].items()}
            pairs |= {key: summary["solver"][key] for key in ("num_steps", "num_gradients")}
            for name, value in pairs.items():
                ours = float(cell[name])
                assert np.isnan(ours) if value is None else ours == value, name
    for key, variable in found.variables.items():
        assert variable.attrs["long_name"], key
        assert variable.attrs["units"], key


def test_half_a_sweep_is_missing(store):
    complete = lr.open_store(store)
    gone = files(store)[1]
    gone.unlink()
    found = lr.open_store(store)
    assert found["outcome"].sel(seed=1).values.tolist() == ["missing"] * 2
    assert found["ending"].sel(seed=1).values.tolist() == ["missing"] * 2
    assert np.isnan(found["test_loss"].sel(seed=1)).all()
    assert np.isnan(found["late_test_loss"].sel(seed=1)).all()
    others = [0, 2]
    assert found.sel(seed=others).identical(complete.sel(seed=others))
    (state,) = lr.status(store)
    assert (state.num_runs, state.num_done, state.num_missing) == (6, 4, 2)
    assert lr.open_store(store, curves=False).identical(found.drop_vars(["time", *BASE.probes]))


def test_one_run_is_read_as_the_sweep_is(store):
    opened = Store(store)
    (sweep,) = opened.sweeps().values()
    data = lr.open_store(store)
    for number in range(6):
        record = record_of(opened, sweep, number)
        assert record is not None
        place = np.unravel_index(number, sweep.shape)
        for name in ("time", "train_loss"):
            curve = data[name].values[place]
            np.testing.assert_array_equal(record[name], curve[~np.isnan(curve)])
        hashed = data["experiment_hash"].values[place]
        assert record.attrs["experiment_hash"] == hashed == sweep.run(number).content_hash
    for number in (-1, 6):
        with pytest.raises(lr.InputError, match=rf"^run = {number}: should be .* from 0 to 5$"):
            record_of(opened, sweep, number)
    # The files have the seeds 0, 1 and 2.
    damaged, removed, _ = files(store)
    damaged.write_bytes(damaged.read_bytes()[:100])
    removed.unlink()
    for number in range(6):
        seed = int(np.unravel_index(number, sweep.shape)[1])
        if seed == 0:
            with pytest.raises(lr.InputError, match=f"its file .*{damaged.name} is damaged"):
                record_of(opened, sweep, number)
        else:
            assert (record_of(opened, sweep, number) is None) is (seed == 1)


def test_what_is_done_is_not_done_again(store):
    before = stamps(store)
    assert list(Store(store).missing(Sweep.over(BASE, OVER, 2))) == []
    assert run(OVER, store).identical(lr.open_store(store))
    assert stamps(store) == before


# --- Several sweeps. ---


def test_sweeps_share_their_runs(store):
    before = stamps(store)
    # Runs of the first sweep, in another order and other batches, and in part new ones.
    found = run({"seed": [2, 1, 0], "init_scale": [3.0, 1.0]}, store, batch_size=3)
    assert stamps(store) == before
    first = lr.open_store(store, Sweep.over(BASE, OVER, 2))
    for name in ("test_loss", "t50", "outcome", "experiment_hash"):
        ours = found[name].transpose(*first[name].dims).sel(first.coords)
        np.testing.assert_array_equal(ours.values, first[name].values)
    run({"init_scale": [3.0, 9.0], "seed": [0]}, store, batch_size=1)
    new = set(stamps(store)) - set(before)
    assert len(new) == 1
    run({"times.num_log": [10], "seed": [0]}, store)
    everything = lr.open_store(store)
    assert everything.sizes["run"] == 8
    hashes = everything["experiment_hash"].values.tolist()
    assert len(set(hashes)) == 8
    rows = zip(
        everything["init_scale"].values, everything["seed"].values, hashes,
        everything["times.num_log"].values, strict=True,
    )  # fmt: skip
    for scale, seed, digest, num_log in rows:
        changes = {"init_scale": float(scale), "seed": int(seed), "times.num_log": int(num_log)}
        assert BASE.with_changes(changes).content_hash == digest
    # The sweep with fewer records ends in NaN.
    last = np.isnan(everything["test_loss"].values[:, -1])
    assert last.tolist() == (everything["times.num_log"] == 10).values.tolist()
    assert all(state.num_missing == 0 for state in lr.status(store))
    with pytest.raises(lr.InputError, match="sweep = None: should be one of"):
        lr.consolidate(store, store / "out.zarr")
    names = sorted(Store(store).sweeps())
    assert len(names) == 4
    with pytest.raises(lr.InputError, match="should be one of " + ", ".join(names)):
        lr.open_store(store, "nothing")
    digest = first.attrs["sweep"]
    assert lr.open_store(store, digest).identical(first)
    assert lr.open_store(store, digest[:16]).identical(first)


def test_sweeps_of_different_kinds_stand_side_by_side(tmp_path):
    run({"model": [{"kind": "DiagonalLinear", "depth": 2}]}, tmp_path / "s")
    run({"model.depth": [2], "t1": [5.0, 6.0]}, tmp_path / "s")
    found = lr.open_store(tmp_path / "s")
    assert found.sizes["run"] == 3
    assert found["model.depth"].values.tolist() == [2, 2, 2]
    models = [json.loads(text) for text in found["model"].values]
    assert models == [{"kind": "DiagonalLinear", "depth": 2}] * 3
    assert sorted(found["t1"].values.tolist()) == [5.0, 6.0, 20.0]


def test_runs_without_a_key_have_nan_for_it(store):
    over: Any = {("dynamics.kind", "dynamics.beta1"): [("Adam", 0.8)]}
    run({**over, "dynamics.learning_rate": [0.1]}, store)
    found = lr.open_store(store)
    assert sorted(found["dynamics.kind"].values.tolist()) == ["Adam"] + ["SGD"] * 6
    adam = found["dynamics.kind"].values == "Adam"
    assert found["dynamics.beta1"].values[adam].tolist() == [0.8]
    assert np.isnan(found["dynamics.beta1"].values[~adam]).all()


# --- Damage. ---


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "pickle", "copy", "length"])
def test_damage_is_named_and_mended(how, store, whole):
    undisturbed = lr.open_store(whole)
    other, path, _ = files(store)
    before = stamps(store)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "flipped":
        flip(path, 1000)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        path.write_bytes(pickle.dumps(results()))
    elif how == "copy":
        shutil.copy(other, path)
    elif how == "length":
        flip(path, path.stat().st_size - 8 - 64 - 2)
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match=f"{path.name} is damaged, its runs are missing"):
        found = lr.open_store(store)
    assert (found["outcome"] == "missing").sum() == 2
    (state,) = lr.status(store)
    if how == "flipped":
        # Status reads the last bytes alone.
        assert state.num_done == 6
    else:
        assert list(state.damaged) == [path.name]
        assert state.num_missing == 2
    with pytest.warns(UserWarning, match=path.name):
        lr.consolidate(store, store / "before.zarr")
    told: list[str] = []
    again = run(OVER, store, listener=lambda progress: told.append(progress.note))
    assert again.identical(undisturbed)
    assert any(path.name in note and "damaged" in note for note in told)
    assert (store / "damaged" / path.name).read_bytes() == damaged
    after = stamps(store)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {path.name}
    lr.consolidate(store, store / "after.zarr")
    lr.consolidate(whole, store / "undisturbed.zarr")
    assert tree(store / "after.zarr") == tree(store / "undisturbed.zarr")


def test_a_file_that_another_process_has_mended_is_left_alone(store):
    # Found damaged by this process, and whole again by the time its turn comes.
    kept, (path, *_) = Store(store), files(store)
    data = path.read_bytes()
    sweep = Sweep.over(BASE, OVER, 2)
    left = list(kept.missing(sweep, [path.name]))
    assert [kept.file_of(sweep, batch.number) for batch in left] == [path.name]
    assert run_batch(kept, Job.of(kept, sweep, left[0])).was_there
    assert path.read_bytes() == data


def test_damage_elsewhere_does_not_count_as_done(store):
    # The second sweep finds its runs in the first one's files, until one is damaged.
    over = {"seed": [1], "init_scale": [1.0, 3.0]}
    path = files(store)[1]
    run(over, store)
    assert len(files(store)) == 3
    flip(path, 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = run(over, store)
    assert len(files(store)) == 4
    assert "missing" not in found["outcome"].values


def test_what_holds_no_batch_is_damaged(store):
    (path, *_) = files(store)
    summary = unseal(path.read_bytes()).summary
    for payload in (b"", pickle.dumps(results()), b"\x89HDF\r\n\x1a\n" + bytes(100)):
        payload += bytes(100_000)  # noqa: PLW2901  # as many as the summary's records take
        path.write_bytes(seal(payload, summary))
        with pytest.warns(UserWarning, match="does not contain a batch of runs"):
            lr.open_store(store)


@pytest.mark.parametrize(
    ("name", "shape"), [("time", (2, 2)), ("numbers", (3, 2)), ("curves", (2, 1, 2)), ("run", (3,))]
)
def test_each_array_must_have_the_shape_of_the_summary(name, shape, monkeypatch):
    payload, summary = unseal(to_bytes(results(), "a.nc"))
    content = io.BytesIO(payload)
    with h5py.File(content, "r+") as file:
        kind = file[name].dtype
        del file[name]
        file[name] = np.zeros(shape, kind)
    # A user's session does not check the shapes of arguments.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(Damaged, match="the shapes of its arrays differ"):
        from_bytes(seal(content.getvalue(), summary), "a.nc")


# --- Other versions, and what is no store. ---


def test_later_formats_are_refused_and_left_alone(store):
    (path, *_) = files(store)
    sealed = unseal(path.read_bytes())
    path.write_bytes(seal(sealed.payload, {**sealed.summary, "format": 2}))
    data = path.read_bytes()
    message = f"^{path.name}.format = 2: this version reads format 1; install the lazyrich that"
    # What is there is read without it; to compute it anew would destroy it.
    with pytest.warns(UserWarning, match=f"{path.name} is damaged.*{message[1:]}"):
        found = lr.open_store(store)
    assert (found["outcome"] == "missing").sum() == 2
    (state,) = lr.status(store)
    assert list(state.damaged) == [path.name]
    with pytest.raises(lr.InputError, match=message):
        run(OVER, store)
    assert path.read_bytes() == data
    assert not (store / "damaged").exists()
    about = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**about, "format": 2}))
    for use in (lr.open_store, lr.status, lambda s: run(OVER, s)):
        with pytest.raises(lr.InputError, match=r"^store.format = 2: .*install the lazyrich"):
            use(store)


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("hello")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("hello")
    for name in ("file", "other", "nothing"):
        for use in (lr.open_store, lr.status):
            with pytest.raises(lr.InputError, match=r"^store = .*should be a store"):
                use(tmp_path / name)
    for name in ("file", "other"):
        with pytest.raises(lr.InputError, match=r"^store = .*a folder without files"):
            run(OVER, tmp_path / name)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    for text in ("[]", "{}", "null", "pickle", '{"format": "1"}'):
        (tmp_path / "other" / "store.json").write_text(text)
        with pytest.raises(lr.InputError, match="store"):
            lr.open_store(tmp_path / "other")
    with pytest.raises(lr.InputError, match="a URL that fsspec opens"):
        lr.open_store("nosuch://place")
    Store.begin(tmp_path / "begun")
    with pytest.raises(lr.InputError, match="contains no sweep yet"):
        lr.open_store(tmp_path / "begun")
    assert lr.status(tmp_path / "begun") == []


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_opening_executes_nothing(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (place,) = (store / "sweeps").glob("*.toml")
    text = place.read_text()
    hostile = [
        pickle.dumps(Bomb()),
        text.replace('kind = "DiagonalLinear"', 'kind = "os.system"').encode(),
        text.replace('kind = "DiagonalLinear"', 'kind = "Functions"\ninit_params = "os.mkdir"'
                     '\nfunction = "os.mkdir"').encode(),
        text.replace('name = "experiment"', 'name = "{__import__(\'os\').mkdir(\'exploded\')}"')
        .encode(),
        (text.split("[experiment.task]")[0] + '[experiment.task]\nkind = "Arrays"\n'
         'path = "../../bomb.npz"\n').encode(),
    ]  # fmt: skip
    with (tmp_path / "bomb.npz").open("wb") as file:
        np.savez(file, x_train=np.array([Bomb()], dtype=object))
    for content in hostile:
        assert content != text.encode()
        place.write_bytes(content)
        for use in (lr.open_store, lr.status):
            with contextlib.suppress(lr.InputError, UserWarning):
                use(store)
    place.write_text(text)
    for path in files(store):
        path.write_bytes(pickle.dumps(Bomb()))
    (store / "running").mkdir(exist_ok=True)
    (store / "running" / "x.json").write_bytes(pickle.dumps(Bomb()))
    with pytest.warns(UserWarning, match="is damaged"):
        found = lr.open_store(store)
    assert (found["outcome"] == "missing").all()
    assert not (tmp_path / "exploded").exists()


# --- Zarr. ---


def decoded(path: Path) -> xr.Dataset:
    """A consolidated store with its codes and digests as words."""
    found = xr.open_zarr(path, consolidated=False).load()
    for name in ("outcome", "ending"):
        meanings = found[name].attrs["flag_meanings"].split()
        assert found[name].attrs["flag_values"] == list(range(len(meanings)))
        found[name] = found[name].copy(data=np.asarray(meanings)[found[name].values])
    digests = found["experiment_hash"].values
    words = np.array([row.tobytes().hex() for row in digests.reshape(-1, 32)])
    found["experiment_hash"] = (
        found["experiment_hash"].dims[:-1], words.reshape(digests.shape[:-1]),
    )  # fmt: skip
    return found


def assert_same_values(ours: xr.Dataset, theirs: xr.Dataset) -> None:
    assert set(ours.variables) == set(theirs.variables)
    assert ours.attrs == theirs.attrs
    for name, variable in theirs.variables.items():
        assert ours[name].dims == variable.dims
        np.testing.assert_array_equal(ours[name].values, variable.values)


@pytest.mark.slow
def test_consolidated_is_what_is_opened(whole, tmp_path):
    lr.consolidate(whole, tmp_path / "one.zarr")
    lr.consolidate(whole, tmp_path / "two.zarr")
    assert tree(tmp_path / "one.zarr") == tree(tmp_path / "two.zarr")
    opened = lr.open_store(whole)
    found = decoded(tmp_path / "one.zarr")
    assert_same_values(found, opened)
    for name in ("t50", "test_loss", "time", "outcome"):
        assert found[name].attrs["long_name"] == opened[name].attrs["long_name"]
    assert found["outcome"].attrs["flag_meanings"].split() == list(CODES)
    with pytest.raises(lr.InputError, match=r"out = .*exists already"):
        lr.consolidate(whole, tmp_path / "one.zarr")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("num_runs", [1, 2, 5, 6, 12, 24])
def test_slabs_of_any_size_give_the_same_values(num_runs, tmp_path, monkeypatch):
    over: Any = {
        "init_scale": [1.0, 2.0, 3.0],
        ("weight_decay", "t1"): [(0.1, 3.0), (0.2, 2.0)],
        "times.num_log": [5, 6],
        "seed": [0, 1],
    }
    sweep = Sweep.over(BASE, over, 3)
    kept = Store.begin(tmp_path / "s")
    kept.add(sweep)
    rng = np.random.default_rng(0)
    for batch in list(batches(sweep))[1:]:  # the first is missing
        num = len(batch.runs)
        made = replace(
            results(),
            runs=batch.runs,
            hashes=[sweep.run(int(run)).content_hash for run in batch.runs],
            outcomes=["grokked"] * num,
            endings=["completed"] * num,
            numbers={"t50": rng.random(num)},
            times=rng.random((num, 4)),
            curves={"test_loss": rng.random((num, 4))},
        )
        kept.write(kept.file_of(sweep, batch.number), made)
    per_run = Layout(["t50"], ["test_loss"], 4, {}).bytes_per_run
    monkeypatch.setattr(dataset, "_SLAB_BYTES", num_runs * per_run)
    lr.consolidate(tmp_path / "s", tmp_path / "out.zarr")
    opened = lr.open_store(tmp_path / "s")
    assert (opened["outcome"] == "missing").sum() == len(next(batches(sweep)).runs)
    found = xr.open_zarr(tmp_path / "out.zarr", consolidated=False).load()
    for name in ("t50", "test_loss", "time", "init_scale", "weight_decay", "t1"):
        np.testing.assert_array_equal(found[name].values, opened[name].values)
        assert found[name].dims == opened[name].dims
    shards: Any = zarr.open_array(tmp_path / "out.zarr" / "test_loss").shards
    assert np.prod(shards[:-1]) <= num_runs


def test_consolidating_that_fails_leaves_nothing(whole, tmp_path, monkeypatch):
    def broken(*args: Any, **kwargs: Any) -> None:
        del args, kwargs
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "read_into", broken)
        with pytest.raises(OSError, match="No space"):
            lr.consolidate(whole, tmp_path / "out.zarr")
    assert list(tmp_path.iterdir()) == []


def test_too_much_for_memory_says_what_to_do(whole, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_BYTES", 1000)
    with pytest.raises(lr.InputError, match=r"GiB of memory; use lr.consolidate"):
        lr.open_store(whole)


# --- Other places, other processes. ---


def test_a_store_at_a_url(whole, tmp_path):
    url = f"memory://lazyrich/{uuid.uuid4().hex}"
    found = run(OVER, url)
    assert_same_values(found, lr.open_store(whole))
    assert lr.open_store(url).identical(found)
    (state,) = lr.status(url)
    assert state.num_done == 6
    lr.consolidate(url, tmp_path / "out.zarr")
    lr.consolidate(whole, tmp_path / "whole.zarr")
    assert tree(tmp_path / "out.zarr") == tree(tmp_path / "whole.zarr")
    kept = Store(url)
    (name, *_) = kept.files()
    kept.folder.write(f"batches/{name}", b"rubbish")
    with pytest.warns(UserWarning, match=f"{name} is damaged"):
        lr.open_store(url)
    assert run(OVER, url).identical(found)
    assert kept.folder.read(f"damaged/{name}", 100) == b"rubbish"


def test_a_file_at_a_url_is_not_read_when_its_size_is_unknown(monkeypatch):
    # As of web servers that send no length. The limit on what is read could not be kept.
    folder = Folder("memory://sizes")
    folder.write("a", b"12345")
    assert folder.size("a") == 5
    assert folder.read("a", 5) == b"12345"
    with pytest.raises(OSError, match="more bytes than the 4"):
        folder.read("a", 4)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.size", lambda *_: None)
    with pytest.raises(OSError, match="not known"):
        folder.read("a", 5)


@pytest.mark.slow
def test_arrays_are_kept_beside_the_sweep(tmp_path):
    rng = np.random.default_rng(0)
    task = lr.tasks.Arrays(
        x_train=rng.choice([-1, 1], (16, 60)).astype(np.int8), y_train=rng.choice([-1.0, 1.0], 16),
        x_test=rng.choice([-1, 1], (50, 60)).astype(np.int8), y_test=rng.choice([-1.0, 1.0], 50),
    )  # fmt: skip
    over = {"init_scale": [1.0, 3.0], "weight_decay": [0.0, 1e-3, 1e-2]}
    found = lr.sweep(BASE.with_changes({"task": task}), over, tmp_path, workers=0, batch_size=6)
    assert lr.open_store(tmp_path).identical(found)
    ((_, sweep),) = Store(tmp_path).sweeps().items()
    assert sweep.experiment.task == task
    kept = Store(tmp_path).read(files(tmp_path)[0].name)
    with pytest.raises(lr.InputError, match=f"{task.digest}.npz"):
        rerun(kept)
    assert rerun(kept, tmp_path / "sweeps")[0].task == task


def heartbeat(store: Path, name: str, **changes: Any) -> None:
    sweep = Sweep.over(BASE, OVER, 2)
    file = Store(store).file_of(sweep, 1)
    content = {"sweep": sweep.content_hash, "time": time.time(), "running": [file], "rate": 2.0}
    (store / "running").mkdir(exist_ok=True)
    (store / "running" / name).write_text(json.dumps({**content, **changes}))


def test_status_counts_who_is_at_work(store):
    files(store)[1].unlink()
    (state,) = lr.status(store)
    assert (state.num_running, state.rate, state.seconds_left) == (0, None, None)
    assert state.seconds_per_run is not None
    assert state.seconds_per_run > 0
    assert state.num_forecast == 0
    heartbeat(store, "a.json")
    heartbeat(store, "b.json", running=[], rate=3.0)
    (state,) = lr.status(store)
    assert (state.num_running, state.rate, state.seconds_left) == (2, 5.0, 0.4)
    # Killed some time ago, by a clock that is off, of another sweep, or not ours at all.
    others: list[dict[str, Any]] = [
        {"time": time.time() - 200}, {"time": time.time() + 7200}, {"sweep": "0" * 64},
        {"time": "now"}, {"running": 3}, {"rate": None},
    ]  # fmt: skip
    for i, changes in enumerate(others):
        heartbeat(store, f"x{i}.json", **changes)
    (store / "running" / "y.json").write_text("[]")
    (store / "running" / "z.json").write_text("nonsense")
    (again,) = lr.status(store)
    assert again == state


@pytest.mark.slow
def test_a_warning_of_damage_names_the_line_that_asked(store, tmp_path):
    (store / "sweeps" / "0123.toml").write_text("nonsense")
    # In a session of its own: the checks of types, which only tests have, are calls in between.
    script = tmp_path / "asks.py"
    script.write_text(f"import lazyrich as lr\n\nlr.status({str(store)!r})\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert f"{script}:3: UserWarning" in done.stderr
    assert "sweeps/0123.toml is damaged, it is left out" in done.stderr


def test_a_sweep_that_ends_takes_its_sign_back(whole):
    assert list((whole / "running").iterdir()) == []


@pytest.mark.parametrize("when", ["begin", "sweep", "batch", "later batch"])
def test_a_full_disk_ends_a_sweep_and_leaves_it_whole(when, whole, tmp_path, monkeypatch):
    store = tmp_path / "store"
    pattern = {"begin": "store.json", "sweep": ".toml", "batch": ".nc", "later batch": "2.nc"}
    write_bytes = Path.write_bytes

    def full(path: Path, data: Any) -> int:
        # The name that is written to is `.NAME.random.suffix`.
        name = path.name[1:].rsplit(".", 2)[0]
        if name.endswith(pattern[when]) and path.name.startswith("."):
            write_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(lr.ComputationError, match="No space left on device") as error:
            run(OVER, store)
    assert "\n" not in str(error.value)
    assert str(store) in str(error.value)
    assert len(files(store)) == {"later batch": 2}.get(when, 0)
    assert left_over(store) == []
    before = stamps(store)
    assert_same_values(run(OVER, store), lr.open_store(whole))
    after = stamps(store)
    assert all(after[name] == before[name] for name in before)


def test_a_full_disk_does_not_keep_damage_from_being_mended(store, whole, monkeypatch):
    (path, *_) = files(store)
    path.write_bytes(b"x")

    def full(self: Any, name: str, data: bytes) -> None:
        if name.startswith("damaged/"):
            raise OSError(errno.ENOSPC, "No space left on device")
        folder_write(self, name, data)

    folder_write = Folder.write
    monkeypatch.setattr(Folder, "write", full)
    assert_same_values(run(OVER, store), lr.open_store(whole))


def test_beginning_a_store_twice_at_once(tmp_path, monkeypatch):
    # Another process begins it between the look for it and the look around it.
    exists = Folder.exists

    def late(self: Any, name: str) -> bool:
        found = exists(self, name)
        if name == "store.json" and not found:
            with monkeypatch.context() as patch:
                patch.setattr(Folder, "exists", exists)
                Store.begin(tmp_path / "s")
        return found

    monkeypatch.setattr(Folder, "exists", late)
    assert Store.begin(tmp_path / "s").sweeps() == {}


def test_a_sweep_that_was_read_from_a_file_that_lacks_something_is_not_run(tmp_path):
    sweep = Sweep.over(BASE, OVER, 2).model_copy(update={"known_as": "0" * 64})
    with (
        worker_pool(0, None) as pool,
        pytest.raises(lr.InputError, match="pass the experiment itself"),
    ):
        run_sweep(sweep, tmp_path / "s", pool)
