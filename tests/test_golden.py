"""Numbers, hashes and files of the code as it was: what a rework has to leave alone.

`tests/golden/write.py` wrote them; see there before writing them anew.
"""

import shutil
import sys
import warnings
from pathlib import Path

import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import cli
from tests.golden import cases

KEPT = cases.kept()
CASES = cases.distinct()

# Compiled in a moment; all others are slow.
FAST = (
    "lyu2024/B.2",  # steps of gradient descent
    "lyu2024/3",  # completion
)

# Relative. Two machines round differently, and steps of equal size pass that on as it is; a
# controller that picks sizes by an error estimate multiplies it, at most to 1e-9 in these runs.
RTOL = 1e-6


# The gradient of a hinge jumps at a kink, where rounding decides on which side a step ends. Two
# processors took 97 and 101 steps there, their values differed by 2e-6, a residual by 5e-5.
KINKED, KINKED_RTOL, KINKED_STEPS = ("open/losses-width",), 2e-4, 0.1


def marked(name: str):
    return pytest.param(name, marks=() if name in FAST else pytest.mark.slow)


def test_hashes_are_what_they_were():
    assert cases.hashes() == KEPT["hashes"]


@pytest.mark.parametrize("name", [marked(name) for name in KEPT["records"]])
def test_a_record_is_what_it_was(name):
    found, kept = cases.numbers_of(lr.simulate(CASES[name])), KEPT["records"][name]
    if name in KINKED:
        counts = {key: n for key, n in kept["solver"].items() if isinstance(n, int)}
        assert {key: found["solver"][key] for key in counts} == pytest.approx(
            counts, rel=KINKED_STEPS
        )
        found["solver"] |= counts
        assert cases.differences(kept, found, KINKED_RTOL) == []
        return
    assert cases.differences(kept, found, RTOL) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", cases.FORECAST)
def test_a_forecast_is_what_it_was(name):
    found, kept = cases.forecast_of(CASES[name]), KEPT["forecasts"][name]
    assert cases.differences(kept, found, RTOL) == []


@pytest.fixture
def store(tmp_path):
    return Path(shutil.copytree(cases.STORE, tmp_path / "store"))


def swept(store: Path) -> xr.Dataset:
    return lr.sweep(cases.SWEPT, cases.OVER, store, workers=0, batch_size=2)


def test_an_old_store_goes_on(store):
    whole = lr.open_store(store)
    assert "missing" not in whole["outcome"].values
    old, new = sorted((store / "batches").glob("*.nc"))
    kept = old.stat().st_mtime_ns
    new.unlink()
    assert (lr.open_store(store)["outcome"] == "missing").sum() == 2
    again = swept(store)
    assert old.stat().st_mtime_ns == kept  # not computed again
    assert again["experiment_hash"].equals(whole["experiment_hash"])
    for name, values in whole.data_vars.items():
        if values.dtype.kind == "f" and not str(name).startswith("wall"):
            floor = cases.FLOORS.get(str(name), 0.0)
            assert cases.close(values.values, again[name].values, RTOL, floor), name
        elif values.dtype.kind != "f":
            assert again[name].equals(values), name


def report(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["lazyrich", "report", *map(str, arguments)])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as exit_:
            cli.main()
    assert not exit_.value.code


def test_an_old_store_is_reported(store, monkeypatch):
    report(monkeypatch, store)
    assert "init_scale" in (store / "report.html").read_text()


@pytest.mark.slow
def test_an_old_record_goes_on(tmp_path, monkeypatch):
    file = Path(shutil.copy(cases.RECORD, tmp_path))
    record = lr.open_record(file)
    assert record.attrs["experiment_hash"] == cases.SWEPT.content_hash
    assert lr.transition(record).ending == "completed"
    report(monkeypatch, file)
    assert (tmp_path / "report.html").stat().st_size > 1000
    longer = lr.extend(record, cases.SWEPT, 2 * cases.SWEPT.t1)
    at_once = lr.simulate(cases.SWEPT.with_changes({"t1": 2 * cases.SWEPT.t1}))
    ends = [float(r["param_norm"][-1]) for r in (longer, at_once)]
    assert longer["time"][-1] == 2 * cases.SWEPT.t1
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)  # each within the solver's tolerance
