"""The locked dependencies, compared with a database of known vulnerabilities by pip-audit.

    make audit
    .venv/release/bin/python release/audit.py requirements.lock [...]

Exit codes: 0 none is known; 1 some are, and listed; 3 the database is not reachable, or does not
know a package: nothing is said about what was not compared.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_PIN = re.compile(r"^[\w.-]+==[^\s\\;]+", re.MULTILINE)


def main(files: list[str]) -> int:
    """Compares the pins of files, and prints what is found; returns the exit code."""
    pins = sorted({pin for file in files for pin in _PIN.findall(Path(file).read_text())})
    # One package first: without a database each would wait for its own answer.
    first, words = audited(pins[:1])
    if not any("vulns" in one for one in first):
        print("NOTHING WAS AUDITED: no database of vulnerabilities is reachable from here.")
        print(f"pip-audit says: {words}")
        return 3
    found, words = audited(pins)
    faults = [(one, fault) for one in found for fault in one.get("vulns", [])]
    unknown = {pin.partition("==")[0] for pin in pins}
    unknown -= {one["name"] for one in found if "vulns" in one}
    for one, fault in faults:
        mended = ", ".join(fault["fix_versions"]) or "no version"
        print(f"{one['name']} {one['version']}: {fault['id']}, mended in {mended}")
    for name in sorted(unknown):
        print(f"{name}: not audited ({words or 'not in the database'})")
    print(f"{len(pins) - len(unknown)} of {len(pins)} packages audited, {len(faults)} faults known")
    return 1 if faults else 3 if unknown else 0


def audited(pins: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package, and why it says nothing, if so."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pins.txt"
        file.write_text("\n".join(pins) + "\n")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(file), "--no-deps"]
        command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["nothing"])[-1]
    return found, next((one["skip_reason"] for one in found if "skip_reason" in one), "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
