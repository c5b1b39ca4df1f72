"""The bill of materials of an installation: lazyrich, its extras, and all that these need.

    make sbom
    .venv/release/bin/python release/sbom.py PYTHON FILE.json

The versions, licences and dependencies are those that are installed beside PYTHON; what only
contributors need, such as pytest, is left out. CycloneDX 1.6, without times, so that the same
installation gives the same file.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Runs beside PYTHON, where the packages are.
_CLOSURE = """
from importlib.metadata import PackageNotFoundError, metadata, requires
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
extras = metadata("lazyrich").get_all("Provides-Extra")
seen, todo = set(), [("lazyrich", frozenset(extras))]
while todo:
    name, extras = todo.pop()
    if (name, extras) in seen:
        continue
    seen.add((name, extras))
    try:
        needed = [Requirement(line) for line in requires(name) or []]
    except PackageNotFoundError:
        continue
    for one in needed:
        if not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras | {""}):
            todo.append((canonicalize_name(one.name), frozenset(one.extras)))
print(*sorted({name for name, _ in seen}))
"""


def main(python: str, place: Path) -> None:
    """Writes the bill of materials of what is installed beside `python`."""
    tool = Path(sys.executable).with_name("cyclonedx-py")
    command = [str(tool), "environment", python, "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-reproducible", "--spec-version", "1.6", "--mc-type", "library"]
    whole = json.loads(_printed(command))
    needed = set(_printed([python, "-c", _CLOSURE]).split())
    own = whole["metadata"]["component"]
    kept = [one for one in whole["components"] if _name(one) in needed - {_name(own)}]
    references = {one["bom-ref"] for one in (own, *kept)}
    whole["components"] = kept
    whole["dependencies"] = [
        _within(one, references) for one in whole["dependencies"] if one["ref"] in references
    ]
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(whole, indent=2) + "\n")
    print(f"{place}: {own['name']} {own['version']} and {len(kept)} packages that it needs")


def _name(component: dict[str, Any]) -> str:
    return str(component["name"]).lower().replace("_", "-").replace(".", "-")


def _within(entry: dict[str, Any], references: set[str]) -> dict[str, Any]:
    return entry | {"dependsOn": [r for r in entry.get("dependsOn", []) if r in references]}


def _printed(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
