"""What a run needs to go on after a kill, in one file."""

import os
import time
import zipfile
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
        if not self.path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                identity = str(file["identity"])
                if identity != self.identity:
                    raise InputError(
                        "checkpoint", str(self.path), f"is of another run ({identity[:80]})"
                    )
                kept = [file[f"leaf{i}"] for i in range(len(leaves))]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            if isinstance(error, InputError):
                raise
            accepted = f"cannot be read ({error}); remove it to start again"
            raise InputError("checkpoint", str(self.path), accepted) from None
        for new, old in zip(kept, leaves, strict=True):
            if new.shape != jnp.shape(old) or new.dtype != jnp.result_type(old):
                accepted = "holds another state than this version's; remove it to start again"
                raise InputError("checkpoint", str(self.path), accepted)
        return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in kept])

    def offer(self, state: Any) -> None:
        """Keeps `state` if the last time was long enough ago."""
        if time.monotonic() - self._last >= self.every:
            self.save(state)

    def save(self, state: Any) -> None:
        """Keeps `state` in place of what was kept before."""
        leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, identity=np.asarray(self.identity), **leaves)
        self._last = time.monotonic()

    def discard(self) -> None:
        """Removes the file: the run's result is safe elsewhere."""
        self.path.unlink(missing_ok=True)
