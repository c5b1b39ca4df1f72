"""How much memory there is, and whether something fits."""

from collections.abc import Mapping
from pathlib import Path

import psutil

from .errors import InputError

# What is left to everything else: the process itself, the compiler, the system.
_SPARED = 2**28


def available() -> int:
    """Bytes of memory that this process can still have: the machine's, or its container's."""
    free = int(psutil.virtual_memory().available)
    limits = [free, *(left for left in map(_left_in, _groups()) if left is not None)]
    return max(0, min(limits) - _SPARED)


def _groups() -> list[Path]:
    """The control groups of this process, from its own outwards, of version 2 and of 1."""
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
            # In a container its group is often mounted as the root itself.
            found += [g for g in (own, *own.parents) if g == root or root in g.parents]
    return found


def _left_in(group: Path) -> int | None:
    """What a control group still grants; None without a limit."""
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most = (group / limit).read_text().strip()
            used = int((group / usage).read_text())
            # Files that are cached count as used, and are given back when there is need.
            rows = (group / "memory.stat").read_text().splitlines()
            cached = {k: int(v) for k, v in (row.split() for row in rows)}.get("inactive_file", 0)
        except (OSError, ValueError):
            continue
        if most.isdecimal():
            return max(0, int(most) - used + cached)
    return None


def check_room(parts: Mapping[str, int], values: Mapping[str, object]) -> None:
    """Refuses what cannot fit in memory before any of it is allocated.

    - **Takes** `parts`, bytes by the key that most of them are due to, and the `values` of keys.
    - **Raises** [`InputError`][lazyrich.InputError] under the key of the largest part.
    """
    needed, free = sum(parts.values()), available()
    if needed <= free:
        return
    key = max(parts, key=lambda key: parts[key])
    accepted = (
        f"takes {parts[key]:,} bytes of memory, the experiment {needed:,} ({needed / 2**30:,.1f} "
        f"GiB); there are {free:,} ({free / 2**30:,.1f} GiB)"
    )
    raise InputError(key, values.get(key), accepted)
