"""What a run needs to go on after a kill, in one file."""

import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import InputError
from .._files import replacing


class Checkpoint:
    """A file that holds the state of a run between two segments of it.

    - **Takes** `path`; `identity`, text that names the run exactly, so that no other run
        goes on from the file; `every`, seconds between two writes at least.

    The file appears whole or not at all. It holds arrays alone, no code.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str, every: float = 10.0):
        self.path, self.identity, self.every = Path(path), identity, every
        self._last = time.monotonic()

    def load(self, like: Any) -> Any | None:
        """The state kept, of the structure of `like`; None if there is no file.

        - **Raises** [`InputError`][lazyrich.InputError] for a file of another run, or one
            that cannot be read.
        """
        if not self.path.parent.is_dir():
            raise self._complaint("should be in a folder that exists")
        if not self.path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            # Opened here: `np.load` leaves a file that it opened and cannot read to the collector.
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                identity, num_kept = str(file["identity"]), len(file.files) - 1
                kept = [file[f"leaf{i}"] for i in range(min(num_kept, len(leaves)))]
        # A damaged archive raises nearly anything: zipfile alone has six kinds, numpy more.
        except Exception as error:
            accepted = f"cannot be read ({error}); remove it to start again"
            raise self._complaint(accepted) from None
        if identity != self.identity:
            raise self._complaint(f"is of another run ({identity[:80]})")
        if num_kept != len(leaves) or not all(map(_alike, kept, leaves)):
            raise self._complaint(
                "holds another state than this version's; remove it to start again"
            )
        # Types that are not numpy's own, such as bfloat16, come back as bytes.
        found = [
            jnp.asarray(new.view(jnp.result_type(old)))
            for new, old in zip(kept, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, found)

    def offer(self, state: Any) -> None:
        """Keeps `state` if the last time was long enough ago."""
        if time.monotonic() - self._last >= self.every:
            self.save(state)

    def save(self, state: Any) -> None:
        """Keeps `state` in place of what was kept before."""
        leaves: dict[str, Any] = {
            f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))
        }
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, identity=np.asarray(self.identity), **leaves)
        self._last = time.monotonic()

    def _complaint(self, accepted: str) -> InputError:
        return InputError("checkpoint", str(self.path), accepted)


def _alike(new: np.ndarray, old: Any) -> bool:
    dtype = np.dtype(jnp.result_type(old))
    foreign = new.dtype.kind == "V" and dtype.kind == "V" and new.dtype.itemsize == dtype.itemsize
    return new.shape == jnp.shape(old) and (new.dtype == dtype or foreign)
