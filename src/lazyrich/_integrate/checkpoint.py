"""A file from which an interrupted run can be resumed."""

import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.errors import InputError
from .._core.files import opened, replacing
from .._core.npz import Header, archive
from .._core.precision import in_double

# The largest size of the text that identifies a run, in bytes.
_MAX_IDENTITY = 2**20


class Checkpoint:
    """A file with the state of a run between two of its segments.

    - **Takes** `path`; `identity`, a text that identifies the run, so that no other run resumes
        from the file; `every`, the least number of seconds between two writes.

    A write replaces the whole file or nothing. The file contains only arrays and no code.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str, every: float = 10.0):
        self.path, self.identity, self.every = Path(path), identity, every
        self._last = time.monotonic()

    @in_double
    def load(self, like: Any) -> Any | None:
        """The saved state, with the structure of `like`; None if there is no file.

        - **Raises** [`InputError`][lazyrich.InputError] if the file is from another run or cannot
            be read.
        """
        if not self.path.parent.is_dir():
            raise self._complaint("should be in a folder that exists")
        if not self.path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        names = [f"leaf{i}" for i in range(len(leaves))]
        try:
            with opened(self.path) as file, archive(file) as held:
                if held.header("identity").num_bytes > _MAX_IDENTITY:
                    raise ValueError("it names its run at a length that none has")
                identity = str(held.read("identity"))
                if identity != self.identity:
                    raise self._complaint(f"is of another run ({identity[:80]})")
                # Sizes are compared with those of the expected state before arrays are read.
                whole = set(held.names) == {"identity", *names}
                whole = whole and all(
                    _alike(held.header(name), leaf)
                    for name, leaf in zip(names, leaves, strict=True)
                )
                kept = [held.read(name) for name in names] if whole else []
        except InputError:
            raise
        except (OSError, ValueError) as error:
            accepted = f"cannot be read ({error}); remove it to start again"
            raise self._complaint(accepted) from None
        if not whole:
            raise self._complaint(
                "holds another state than this version's; remove it to start again"
            )
        # NumPy returns types that it does not define, such as bfloat16, as bytes.
        found = [
            jnp.asarray(new.view(jnp.result_type(old)))
            for new, old in zip(kept, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, found)

    def offer(self, state: Any) -> None:
        """Saves `state` if the last save was at least `every` seconds ago."""
        if time.monotonic() - self._last >= self.every:
            self.save(state)

    def save(self, state: Any) -> None:
        """Saves `state` in place of the previous state."""
        leaves: dict[str, Any] = {
            f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))
        }
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, identity=np.asarray(self.identity), **leaves)
        self._last = time.monotonic()

    def _complaint(self, accepted: str) -> InputError:
        return InputError("checkpoint", str(self.path), accepted)


def _alike(new: Header, old: Any) -> bool:
    dtype = np.dtype(jnp.result_type(old))
    foreign = new.dtype.kind == "V" and dtype.kind == "V" and new.dtype.itemsize == dtype.itemsize
    return new.shape == jnp.shape(old) and (new.dtype == dtype or foreign)
