"""What a release states in several places is stated alike, and its checks cover what there is."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import coverage
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import lazyrich as lr

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
LOCKS = [*ROOT.glob("requirements*.lock"), *ROOT.glob("requirements*.txt")]


def script(name: str) -> ModuleType:
    """A script of `release/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "release" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_version_is_that_of_the_project_everywhere():
    version = PROJECT["project"]["version"]
    assert lr.__version__ == version
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [version]
    licence = re.findall(r"^license: (.*)$", citation, re.MULTILINE)
    assert licence == [PROJECT["project"]["license"]]


def test_the_version_is_read_without_heavy_imports():
    code = "import sys, lazyrich; lazyrich.__version__; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def named_extras() -> Iterator[str]:
    """The extras that the source tells users to install."""
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        yield from re.findall(r"lazyrich\[(\w+)\]'", text)
        yield from re.findall(r"require\(\"\w+\", \"(\w+)\"", text)


def test_extras_that_are_named_exist():
    found = set(named_extras())
    assert {"view", "maps", "torch", "data", "mnist", "explore"} <= found
    assert found <= {*EXTRAS}


def test_every_extra_is_used_in_the_test_of_the_wheel():
    assert {*script("wheel").EXTRAS} == {*EXTRAS}


def test_the_oldest_versions_are_those_that_are_tested():
    pins = (ROOT / "requirements-floors.txt").read_text()
    tested = {canonicalize_name(name): Version(v) for name, v in re.findall(r"(.*)==(.*)", pins)}
    groups = {extra: lines for extra, lines in EXTRAS.items() if extra != "torch"}
    lines = [*PROJECT["project"]["dependencies"], *itertools.chain(*groups.values())]
    assert len(lines) > 30
    for one in map(Requirement, lines):
        (bound,) = one.specifier
        oldest = tested[canonicalize_name(one.name)]
        # 0.23 is a floor of 0.23.0, and 2.6.2 one of its mend 2.6.2.2, the oldest of that name.
        assert bound.operator == ">=", one.name
        assert (
            oldest.release[: len(Version(bound.version).release)] == Version(bound.version).release
        )


def test_locks_name_no_addresses():
    assert len(LOCKS) >= 4
    for path in LOCKS:
        assert "://" not in path.read_text(), path.name


def test_coverage_counts_the_processes_that_tests_start(tmp_path):
    inner = "import lazyrich; lazyrich.__version__"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    (tmp_path / "outer.py").write_text(outer)
    settings = [f"--rcfile={ROOT / 'pyproject.toml'}"]
    kept = {name: v for name, v in os.environ.items() if not name.startswith("COV")}
    for words in (["run", *settings, "outer.py"], ["combine", *settings, "--quiet"]):
        command = [sys.executable, "-m", "coverage", *words]
        subprocess.run(command, cwd=tmp_path, env=kept, check=True)
    data = coverage.CoverageData(str(tmp_path / ".coverage"))
    data.read()
    (lines,) = [data.lines(name) for name in data.measured_files() if "lazyrich/__init__" in name]
    assert lines


FOUND = {"name": "numpy", "version": "1.0", "vulns": []}
FAULT = {"id": "X-1", "fix_versions": ["1.1"]}


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ([], 3, "NOTHING WAS AUDITED"),
        ([{"name": "numpy", "skip_reason": "unknown"}], 3, "NOTHING WAS AUDITED"),
        ([FOUND], 3, "other: not audited"),
        ([FOUND, {**FOUND, "name": "other"}], 0, "2 of 2 packages audited, 0 faults"),
        ([FOUND, {**FOUND, "name": "other", "vulns": [FAULT]}], 1, "X-1, mended in 1.1"),
    ],
)
def test_an_audit_without_an_answer_is_none(answer, code, says, tmp_path, monkeypatch, capsys):
    audit = script("audit")
    monkeypatch.setattr(audit, "audited", lambda pins: (answer, "no connection"))
    pins = tmp_path / "pins.txt"
    pins.write_text("numpy==1.0 \\\n    --hash=sha256:00\nother==1.0\n")
    assert audit.main([str(pins)]) == code
    assert says in capsys.readouterr().out


def test_exceptions_of_the_review_are_on_the_page():
    page = (ROOT / "docs" / "project" / "releases.md").read_text()
    exceptions = PROJECT["tool"]["repo-review"]["ignore"]
    assert re.findall(r"^\| ([A-Z]+\d+),", page, re.MULTILINE) == [*exceptions]
