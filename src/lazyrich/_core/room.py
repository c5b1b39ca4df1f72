"""The free memory, and whether an experiment fits in it."""

from collections.abc import Mapping
from pathlib import Path

import psutil

from .errors import InputError

# Memory reserved for everything else: the process itself, the compiler, the system.
_SPARED = 2**28


def available() -> int:
    """Bytes of memory that this process can still allocate, on the machine or in its container."""
    free = int(psutil.virtual_memory().available)
    limits = [free, *(left for left in map(_left_in, _groups()) if left is not None)]
    return max(0, min(limits) - _SPARED)


def _groups() -> list[Path]:
    """The control groups of this process, version 2 and version 1, from the innermost outwards."""
    found = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup", "memory" if controllers else "")
            own = root / place.lstrip("/")
            # In a container, its own group is often mounted as the root.
            found += [g for g in (own, *own.parents) if g == root or root in g.parents]
    return found


def _left_in(group: Path) -> int | None:
    """The memory that a control group still grants; None without a limit."""
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most = (group / limit).read_text().strip()
            used = int((group / usage).read_text())
            # Cached files count as used memory, but the system releases them when needed.
            rows = (group / "memory.stat").read_text().splitlines()
            cached = {k: int(v) for k, v in (row.split() for row in rows)}.get("inactive_file", 0)
        except (OSError, ValueError):
            continue
        if most.isdecimal():
            return max(0, int(most) - used + cached)
    return None


def check_room(parts: Mapping[str, int], values: Mapping[str, object]) -> None:
    """Refuses an experiment that does not fit in memory, before anything is allocated.

    - **Takes** `parts`, bytes keyed by the field that sets most of them, and the `values` of the
        fields.
    - **Raises** [`InputError`][lazyrich.InputError] under the key of the largest part.
    """
    needed, free = sum(parts.values()), available()
    if needed <= free:
        return
    key = max(parts, key=lambda key: parts[key])
    accepted = (
        f"takes {_shown(parts[key])} of memory, the experiment {_shown(needed)}; "
        f"{_shown(free)} are free"
    )
    raise InputError(key, values.get(key), accepted)


def _shown(num_bytes: int) -> str:
    """Bytes in a unit of which there are fewer than a thousand, to three digits."""
    number = float(num_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} EiB"
