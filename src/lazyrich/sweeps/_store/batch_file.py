"""The file of one batch: netCDF, with units and long names for everything."""

import io
import json
from dataclasses import dataclass
from typing import Any, get_args

import h5py
import numpy as np
from jaxtyping import Float, Int

from ..._core.errors import InputError, one_line
from ...dynamics import Ending
from ...records.transition import CODES
from .checked import check_about, check_summary_types, check_words, parse_json, plain, text_of
from .sealed import Damaged, seal, unseal

FORMAT = 1

ENDINGS: tuple[str, ...] = (*get_args(Ending), "failed", "missing")
"""How a solve ended; also `failed` if the run raised, and `missing` if it was not run."""


# The largest number of names in a legend, because codes have one byte.
_MAX_WORDS = 100


@dataclass(frozen=True)
class Results:
    """The results of a batch of `r` runs, with up to `t` records.

    - `runs`, their numbers in the sweep; `hashes` of their experiments.
    - `numbers`, one for each run, by name; `curves`, by the names of probes, NaN after the end
        of a run.
    - `words`, `long_name` and `units` of every number and curve.
    - `about`, how they were made: `sweep`, its hash; `experiment`, as TOML; `changes` of each run;
        versions, machine, environment, seconds; and `errors`, the messages of runs that failed,
        keyed by their index in the batch.
    """

    runs: Int[np.ndarray, " r"]
    hashes: list[str]
    outcomes: list[str]
    endings: list[str]
    numbers: dict[str, Float[np.ndarray, " r"]]
    times: Float[np.ndarray, "r t"]
    curves: dict[str, Float[np.ndarray, "r t"]]
    words: dict[str, dict[str, str]]
    about: dict[str, Any]


def to_bytes(results: Results, name: str) -> bytes:
    """A sealed netCDF file. Its summary says which runs it contains, and their outcomes.

    The file also contains its own `name`. A copy under another name is refused.
    """
    buffer = io.BytesIO()
    # Names of probes and numbers are coordinates and not separate variables: writing six arrays
    # takes a tenth of the time of writing sixty.
    with h5py.File(buffer, "w") as file:
        sizes = {"run": len(results.runs), "record": results.times.shape[1]}
        _variable(file, "run", results.runs)
        _variable(file, "record", np.arange(sizes["record"]))
        for key, columns in (("number", results.numbers), ("curve", results.curves)):
            _variable(file, key, np.array(list(columns), dtype=h5py.string_dtype()))
        for key in ("run", "record", "number", "curve"):
            file[key].make_scale(key)
        hashes = np.array(results.hashes, dtype=h5py.string_dtype())
        _variable(file, "experiment_hash", hashes, "run")
        for key, values, kinds in (
            ("outcome", results.outcomes, CODES),
            ("ending", results.endings, ENDINGS),
        ):
            codes = np.array([kinds.index(value) for value in values], dtype=np.int8)
            variable = _variable(file, key, codes, "run")
            variable.attrs["flag_values"] = np.arange(len(kinds), dtype=np.int8)
            variable.attrs["flag_meanings"] = " ".join(kinds)
        _variable(file, "numbers", _stacked(results.numbers, sizes["run"]), "run", "number")
        _variable(file, "time", results.times, "run", "record")
        empty = np.empty((sizes["run"], 0, sizes["record"]))
        curves = np.stack(list(results.curves.values()), axis=1) if results.curves else empty
        _variable(file, "curves", curves, "run", "curve", "record")
        file.attrs["Conventions"] = "CF-1.11"
        file.attrs["lazyrich_format"] = FORMAT
        file.attrs["words"] = json.dumps(results.words)
        file.attrs["about"] = json.dumps(results.about)
    counts = {kind: results.outcomes.count(kind) for kind in CODES}
    summary = {
        "format": FORMAT,
        "name": name,
        "hashes": results.hashes,
        "numbers": list(results.numbers),
        "curves": list(results.curves),
        "num_records": sizes["record"],
        "outcomes": {kind: count for kind, count in counts.items() if count},
        "seconds": results.about["seconds"],
    }
    if "forecast" in results.about:
        summary["forecast"] = results.about["forecast"]["key"]
    return seal(buffer.getvalue(), summary)


def from_bytes(data: bytes, name: str | None = None) -> Results:
    """The results in a file, which must have been written under `name` if given.

    - **Raises** `Damaged` for a file that is incomplete, or was written under another name;
        [`InputError`][lazyrich.InputError] for a file of another version with another format.
    """
    payload, summary = unseal(data)
    check_summary(summary, name, len(data))
    size, num_runs = len(payload), len(summary["hashes"])
    try:
        with h5py.File(io.BytesIO(payload), "r") as file:
            numbers = plain(file, "numbers", "f", 2, size)
            curves = plain(file, "curves", "f", 3, size)
            found = Results(
                runs=plain(file, "run", "iu", 1, size),
                hashes=summary["hashes"],
                outcomes=_decoded(file, "outcome", size),
                endings=_decoded(file, "ending", size),
                numbers=dict(zip(summary["numbers"], numbers.T, strict=True)),
                times=plain(file, "time", "f", 2, size),
                curves=dict(zip(summary["curves"], curves.swapaxes(0, 1), strict=True)),
                words=parse_json(text_of(file, "words"), "words"),
                about=parse_json(text_of(file, "about"), "about"),
            )
    # For files of other formats, HDF5 raises many types of error.
    except (
        OSError, KeyError, ValueError, IndexError, AttributeError, TypeError, RuntimeError,
        MemoryError, OverflowError,
    ) as error:  # fmt: skip
        raise Damaged(f"it does not contain a batch of runs ({one_line(error, 200)})") from None
    shape = (num_runs, summary["num_records"])
    right = len(found.runs) == len(found.outcomes) == len(found.endings) == num_runs
    right = right and found.times.shape == shape and len(numbers) == num_runs
    if not right or curves.shape != (num_runs, len(summary["curves"]), shape[1]):
        raise Damaged("the shapes of its arrays differ from its summary")
    check_words(found.words)
    check_about(found.about)
    return found


def _decoded(file: Any, name: str, size: int) -> list[str]:
    """Names decoded by the legend in the file, because another version may have another legend."""
    codes = plain(file, name, "iu", 1, size)
    values = np.asarray(file[name].attrs["flag_values"])
    words = str(file[name].attrs["flag_meanings"]).split()
    if values.shape != (len(words),) or len(words) > _MAX_WORDS:
        raise ValueError(f"{values.shape} codes for {len(words)} words of {name}")
    legend = dict(zip(values.tolist(), words, strict=True))
    unknown = sorted({*codes.tolist()} - {*legend})
    if unknown:
        raise ValueError(f"code {unknown[0]} of {name} is not in its legend")
    return [legend[code] for code in codes.tolist()]


def check_summary(summary: dict[str, Any], name: str | None, size: int) -> None:
    """Refuses a complete file of another format or, with `name`, of another name.

    - **Takes** `size`, the number of bytes in the file, which limits what it can contain.
    """
    check_format("batch" if name is None else name, summary.get("format"))
    if name is not None and summary.get("name") != name:
        raise Damaged(f"it is the file {one_line(summary.get('name'), 80)}, not this one")
    check_summary_types(summary, size)


def check_format(key: str, found: Any) -> None:
    """Refuses a format that this version cannot read."""
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        advice = "install the lazyrich that wrote it" if newer else "it is not a file of a store"
        raise InputError(f"{key}.format", found, f"this version reads format {FORMAT}; {advice}")


def _variable(file: Any, name: str, values: np.ndarray, *dims: str) -> Any:
    variable = file.create_dataset(name, data=values, track_times=False)
    for axis, dim in enumerate(dims):
        variable.dims[axis].attach_scale(file[dim])
    return variable


def _stacked(columns: dict[str, np.ndarray], num_runs: int) -> np.ndarray:
    return np.stack(list(columns.values()), axis=1) if columns else np.empty((num_runs, 0))
