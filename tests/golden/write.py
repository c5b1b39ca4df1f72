"""Writes the numbers that `tests/test_golden.py` compares with, and says which have changed.

`PYTHONPATH=src:. python -m tests.golden.write` writes hashes, records and forecasts;
`... tests.golden.write store` the old store and the old record. What they hold is what the code
computed when they were written: write them anew only for a change that is meant, and say in the
commit which numbers moved and why. Never to make a test pass.
"""

import shutil
import sys
from typing import Any

import lazyrich as lr
import tests.conftest  # noqa: F401  # double precision, and the tests' passes of the compiler
from tests.golden import cases


def numbers() -> dict[str, Any]:
    """Everything in `numbers.json`."""
    found: dict[str, Any] = {"hashes": cases.hashes(), "records": {}, "forecasts": {}}
    experiments = cases.distinct()
    for name, experiment in experiments.items():
        print(name, file=sys.stderr)
        found["records"][name] = cases.numbers_of(lr.simulate(experiment))
    for name in cases.FORECAST:
        print(name, "forecast", file=sys.stderr)
        found["forecasts"][name] = cases.forecast_of(experiments[name])
    return found


def write_store() -> None:
    """Writes the store and the record."""
    shutil.rmtree(cases.STORE, ignore_errors=True)
    lr.sweep(cases.SWEPT, cases.OVER, cases.STORE, workers=0, batch_size=2)
    lr.simulate(cases.SWEPT, keep_params=True).to_netcdf(cases.RECORD, engine="h5netcdf")


if __name__ == "__main__":
    if sys.argv[1:] == ["store"]:
        write_store()
    else:
        old = cases.kept() if cases.NUMBERS.exists() else {}
        new = numbers()
        print("\n".join(cases.differences(old, new, rtol=0)) or "nothing has changed")
        cases.keep(new)
