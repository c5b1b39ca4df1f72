"""How much compiled code JAX keeps in a process."""

import gc
from pathlib import Path

import jax

# Linux grants a process a number of memory maps, 65,530 by default. A simulation with new shapes
# takes about a thousand, and the process ends without a message when there are none left.
_MAPS, _GRANTED = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")


def forget_if_much() -> None:
    """Clears JAX's caches if this process has used half of the memory maps it may have.

    Functions that are needed again are compiled again. Other systems than Linux have no such limit.
    """
    try:
        used, granted = _MAPS.read_bytes().count(b"\n"), int(_GRANTED.read_text())
    except OSError:
        return
    if used > granted // 2:
        jax.clear_caches()
        gc.collect()
