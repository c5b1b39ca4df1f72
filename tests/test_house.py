"""The house's rules: one direction of imports, every public name documented."""

import ast
import inspect
from pathlib import Path

import pytest

import lazyrich as lr

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "lazyrich"
# Each may import from those above it.
ORDER = [
    "_dask_nodes", "_errors", "_files", "_shown", "_terminal", "_room", "_npz", "_toml",
    "_precision", "_fingerprint", "_description", "_columns", "_tasks", "_models", "_losses",
    "_dynamics", "_kernel", "_predictors", "_probes", "_published", "_identity", "_experiment",
    "_sizes", "_linearise", "_references", "_measure", "_ground", "_stacked", "_simulate",
    "_extend", "_together", "_record", "_transition", "_summary", "_forecast", "_foreseen",
    "_reread", "_sweep", "_store", "_phase", "_claims", "_trial", "_execution", "studies",
    "_reproduce", "_view", "cli", "__main__",
]  # fmt: skip
NAMESPACES = [
    "tasks",
    "models",
    "losses",
    "dynamics",
    "kernel",
    "solvers",
    "predictors",
    "probes",
    "studies",
    "sweeps",
]


def place(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """The places inside lazyrich that a module imports from."""
    package = path.relative_to(SOURCE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            module = (*base, *(node.module.split(".") if node.module else ()))
            found |= {module[0]} if module else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_imports_point_one_way(path):
    here = place(path)
    if here == "__init__":
        return
    for other in imported(path) - {here}:
        assert ORDER.index(other) < ORDER.index(here), f"{path} imports {other}"


def test_every_public_name_has_a_place():
    assert {*lr._PLACES, *lr._NAMESPACES} == set(lr.__all__)
    assert set(lr._NAMESPACES) == set(NAMESPACES)
    assert dir(lr) == lr.__all__
    with pytest.raises(AttributeError, match="no attribute 'grok'"):
        lr.grok  # noqa: B018


def public_names() -> dict[str, object]:
    found = {f"lazyrich.{name}": getattr(lr, name) for name in lr.__all__}
    for space in NAMESPACES:
        module = found.pop(f"lazyrich.{space}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "").startswith(module.__name__)
            if own and not name.startswith("_"):
                found[f"lazyrich.{space}.{name}"] = value
    return found


@pytest.mark.parametrize("name", public_names())
def test_public_names_are_documented(name):
    assert inspect.getdoc(public_names()[name]), f"{name} has no docstring"
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").rglob("api*.md"))
    assert f"::: {name}\n" in pages + "\n", f"{name} is on no API page"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_snippets_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = page.read_text().split("```python\n")[1:]
    space: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.split("```")[0], str(page), "exec"), space)


def test_files_are_small():
    lengths = {path.name: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert max(lengths.values()) < 350, lengths
