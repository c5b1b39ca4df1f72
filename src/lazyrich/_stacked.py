"""interim"""

import json
from typing import Any, NamedTuple

import numpy as np

from ._dynamics import Effort
from ._simulate import simulate


class Stacked(NamedTuple):
    times: np.ndarray
    values: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    endings: list[str]
    efforts: list[Effort]
    words: dict[str, dict[str, str]]


def simulate_stacked(experiments: Any) -> Stacked:
    rs = [simulate(e) for e in experiments]
    T = max(r.sizes["time"] for r in rs)

    def pad(v):
        return np.concatenate([v, np.full(T - len(v), np.nan)])

    names = [str(n) for n in rs[0].data_vars if rs[0][n].dims == ("time",)]
    return Stacked(
        np.stack([pad(r["time"].values) for r in rs]),
        {n: np.stack([pad(r[n].values) for r in rs]) for n in names},
        {},
        [r.attrs["ending"] for r in rs],
        [Effort(**json.loads(r.attrs["solver"])) for r in rs],
        {n: {"long_name": rs[0][n].attrs["long_name"], "units": "1"} for n in names},
    )
