"""What users install: the source distribution and the wheel, used in a bare environment.

    make wheel-test
    .venv/bin/python release/wheel.py [--only view maps] [--no-extras] [--only-build]

1. `dist/` is built: the source distribution, and from it the wheel. They contain the files that git
   tracks, and nothing else.
2. The wheel is installed into a new environment without any extra, and used there from another
   folder. What needs an extra says which, in one line.
3. Each extra is installed by itself, on top of that environment, and used.

The versions are those of `requirements.lock` and `requirements-torch.txt`.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = str(PROJECT["version"])
PINS = ("requirements.lock", "requirements-torch.txt")
# What contributors install: these need the repository, and no wheel.
FOR_CONTRIBUTORS = {"test", "lint", "docs", "build"}


@dataclass(frozen=True)
class Check:
    """A command, and what it prints (a regular expression).

    With another `code` than 0 the error is one line, and nothing else.
    """

    command: str
    prints: str
    code: int = 0


def script(*lines: str) -> str:
    """The command that runs lines of Python, and prints what the library refuses."""
    body = [f"    {line}" for line in lines]
    lines = ("import lazyrich as lr", "try:", *body, "except lr.ComputationError as error:")
    text = "\n".join((*lines, "    print(error)"))
    return f"python -c {shlex.quote(text)}"


_RUN = "python -m lazyrich run lyu2024/3 --no-forecast"
_DIGITS = ("import jax", "key = jax.random.key(0)", "task = lr.tasks.Images(n=20, num_test=10)")
_MNIST = (*_DIGITS[:2], "task = lr.tasks.Images(source='mnist_5k', n=20, num_test=10)")
_DRAW = ("split = task.sample(key)", "print('inputs', split.train.x.shape)")
_NET = (
    "lr.torch.Monitor",
    "import torch",
    "net = torch.nn.Linear(3, 1)",
    "model = lr.models.FromTorch(net)",
    "print('outputs', model.apply(model.init(None, 3), [[1.0, 2.0, 3.0]]).shape)",
)
_SWEEP = "python -m lazyrich sweep lyu2024/3 --set t1=10 --over seed=0,1 --store store"

BARE = [
    Check("lazyrich --help", "forecast"),
    Check("lazyrich list", "lyu2024/3 "),
    Check(script("print('version', lr.__version__)"), rf"version {re.escape(VERSION)}\n"),
    Check(f"{_RUN} --out run", r"outcome +grokked"),
    Check("python -m lazyrich judge log.csv", "outcome"),
    Check(f"{_SWEEP} --workers 0", "done +2 of 2 runs"),
    # What needs an extra.
    Check(f"{_RUN} --out other --track tensorboard=logs", r"pip install 'lazyrich\[track\]'", 2),
    Check("python -m lazyrich report run", r"pip install 'lazyrich\[view\]'", 2),
    Check("python -m lazyrich explore --no-browser", r"pip install 'lazyrich\[explore\]'", 1),
    Check("python -m lazyrich consolidate store store.zarr", r"pip install 'lazyrich\[maps\]'", 1),
    Check(f"{_SWEEP}2 --workers 2", r"pip install 'lazyrich\[maps\]'", 1),
    Check(script("lr.plot.run"), r"pip install 'lazyrich\[view\]'"),
    Check(script(*_DIGITS, *_DRAW), r"pip install 'lazyrich\[data\]'"),
    Check(script(*_MNIST, *_DRAW), r"pip install 'lazyrich\[mnist\]'"),
    Check(script(*_NET), r"pip install 'lazyrich\[torch\]'"),
]
EXTRAS = {
    "maps": [
        Check(f"{_SWEEP} --workers 2", "done +2 of 2 runs"),
        Check("python -m lazyrich consolidate store store.zarr", "written to +store.zarr"),
    ],
    "slurm": [
        Check(
            "python -c 'import dask_jobqueue as d; "
            'print(d.SLURMCluster(cores=2, memory="1GB", interface="lo").job_script())\'',
            "#SBATCH --mem=",
        ),
    ],
    "data": [Check(script(*_DIGITS, *_DRAW), r"inputs \(20, 64\)")],
    "mnist": [Check(script(*_MNIST, *_DRAW), r"inputs \(20, 784\)")],
    "torch": [Check(script(*_NET), r"outputs \(1,")],
    "track": [Check(f"{_RUN} --out run --track tensorboard=logs", r"outcome +grokked")],
    "view": [
        Check(f"{_RUN} --out run", "report.html"),
        Check("python -m lazyrich report run", "report.html"),
    ],
    "explore": [Check("python explore.py", "a page with 200 OK")],
}

_EXPLORE = """
import subprocess, sys, urllib.request
command = [sys.executable, "-m", "lazyrich", "explore", "--no-browser"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
    address = server.stdout.readline().split()[-1]
    with urllib.request.urlopen(address, timeout=60) as page:
        print("a page with", page.status, page.reason)
    server.terminate()
"""
_LOG = "step,train_loss,test_loss\n" + "".join(f"{i},{1 / i},{2 / i}\n" for i in range(1, 30))


def tracked() -> set[str]:
    """The files that git tracks."""
    command = ["git", "ls-files", "-z"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(found.split("\0")) - {""}


def build() -> Path:
    """Builds the source distribution and, from it, the wheel; returns the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    hatchling = [sys.executable, "-m", "hatchling", "build", "-d", str(DIST)]
    with tempfile.TemporaryDirectory() as scratch:
        # Only files that git tracks are copied, because tests and tools leave other files.
        for name in tracked():
            place = Path(scratch, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place)
        subprocess.run([*hatchling, "-t", "sdist"], cwd=scratch, check=True)
    (source,) = DIST.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(source) as archive:
            archive.extractall(scratch, filter="data")
        (unpacked,) = Path(scratch).iterdir()
        subprocess.run([*hatchling, "-t", "wheel"], cwd=unpacked, check=True)
        with tarfile.open(source) as archive:
            inside = {m.name.partition("/")[2] for m in archive if m.isfile()}
    _compare("the source distribution", inside, (tracked() - {".ci/run"}) | {"PKG-INFO"})
    (wheel,) = DIST.glob("*.whl")
    package = {name.removeprefix("src/") for name in tracked() if name.startswith("src/lazyrich/")}
    meta = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    with zipfile.ZipFile(wheel) as zipped:
        names = set(zipped.namelist())
    _compare("the wheel", names, package | {f"lazyrich-{VERSION}.dist-info/{m}" for m in meta})
    return wheel


def _compare(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        sys.exit(f"{what} lacks {sorted(expected - found)} and has {sorted(found - expected)}")
    print(f"{what} has the {len(found)} files that it should have")


class Environment:
    """An environment of its own, or on top of another; without pip."""

    def __init__(self, place: Path, base: "Environment | None" = None):
        venv.create(place, symlinks=True)
        self.place, self.python = place, place / "bin" / "python"
        self.packages = next(place.glob("lib/python*/site-packages"))
        if base is not None:
            (self.packages / "base.pth").write_text(f"{base.packages}\n")

    def install(self, requirement: str, constraints: Path) -> None:
        """Installs a requirement in the versions of the lock files."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        command += ["--no-compile", "--constraint", str(constraints), requirement]
        subprocess.run(command, check=True)

    def check(self, checks: Iterable[Check], folder: Path) -> None:
        """Runs commands in a folder; ends the process with the first that does otherwise."""
        own = ("PYTHON", "LAZYRICH", "XLA_", "JAX_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        kept["PATH"] = f"{self.place / 'bin'}{os.pathsep}{kept['PATH']}"
        kept["XDG_CACHE_HOME"] = str(self.place.parent / "cache")
        for one in checks:
            command = shlex.split(one.command)
            done = subprocess.run(
                command, cwd=folder, env=kept, capture_output=True, text=True, check=False
            )
            output = done.stdout + done.stderr
            good = done.returncode == one.code and re.search(one.prints, output) is not None
            if one.code:
                good = good and re.fullmatch("lazyrich: .*\n", done.stderr) is not None
            if not good:
                sys.exit(f"{one.command}\nexit code {done.returncode}\n{output}")
            print(f"  {one.command.splitlines()[0][:80]}", flush=True)


def main() -> None:
    """Builds, installs and uses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[*EXTRAS], choices=[*EXTRAS], metavar="EXTRA")
    parser.add_argument("--no-extras", action="store_true")
    parser.add_argument("--only-build", action="store_true")
    chosen = parser.parse_args()
    wheel = build()
    if chosen.only_build:
        return
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        pins = "\n".join((ROOT / file).read_text() for file in PINS)
        constraints = scratch / "constraints.txt"
        constraints.write_text("\n".join(re.findall(r"^[\w.-]+==[^\s\\]+", pins, re.MULTILINE)))
        bare = Environment(scratch / "bare")
        bare.install(str(wheel), constraints)
        print("without an extra")
        bare.check(BARE, _folder(scratch / "without"))
        for extra in [] if chosen.no_extras else chosen.only:
            layer = Environment(scratch / f"with-{extra}", bare)
            layer.install(f"{wheel}[{extra}]", constraints)
            print(f"with the extra {extra}")
            layer.check(EXTRAS[extra], _folder(scratch / extra))
    print(f"{wheel.name}: installed and used, {time.monotonic() - begin:.0f} s")


def _folder(place: Path) -> Path:
    place.mkdir()
    (place / "explore.py").write_text(_EXPLORE)
    (place / "log.csv").write_text(_LOG)
    return place


if __name__ == "__main__":
    main()
