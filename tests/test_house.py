"""The layout of the package, and that every public name is documented.

The direction of imports is checked by import-linter, in `make lint`.
"""

import ast
import dataclasses
import inspect
import operator
import re
import subprocess
import sys
from pathlib import Path

import griffe
import pytest

import lazyrich as lr
from lazyrich._core.description import Choice

from .pages import entries

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "lazyrich"
PUBLIC: list[str] = vars(lr)["__all__"]
NAMESPACES = [
    name for name in PUBLIC if inspect.ismodule(getattr(lr, name))
]  # each a package with pages of its own

FORECAST = {field.name for field in dataclasses.fields(lr.Forecast)}
ROLES = {"kernel", "rich"}
LOGGED = lr.record([1, 2], {"train_loss": [1.0, 0.0], "test_loss": [1.0, 0.0]})


def test_the_root_holds_packages():
    loose = {path.name for path in SOURCE.iterdir() if path.is_file()}
    assert loose == {"__init__.py", "__init__.pyi", "__main__.py", "py.typed"}
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    public = {name for name in packages if not name.startswith("_")} - {"cli"}
    assert public == set(NAMESPACES)


def test_names_are_found_when_asked_for():
    assert set(PUBLIC) <= set(dir(lr))
    with pytest.raises(AttributeError, match="attribute grok"):
        lr.grok  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_no_jax():
    code = "import sys, lazyrich; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "from lazyrich.tasks import Arrays; import lazyrich.models"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def public_names() -> dict[str, object]:
    found = {f"lazyrich.{name}": getattr(lr, name) for name in PUBLIC}
    for space in NAMESPACES:
        module = found.pop(f"lazyrich.{space}")
        for name in {*vars(module), *getattr(module, "__all__", ())}:
            value = getattr(module, name)
            own = getattr(value, "__module__", "").startswith("lazyrich.")
            at_top = any(value is other for other in found.values())
            if own and not name.startswith("_") and not at_top:
                found[f"lazyrich.{space}.{name}"] = value
    return dict(sorted(found.items()))


@pytest.mark.parametrize("name", public_names())
def test_public_names_are_documented(name):
    assert inspect.getdoc(public_names()[name]), f"{name} has no docstring"
    assert name in entries(), f"{name} is on no API page"


def test_api_pages_show_the_signatures_of_the_names():
    package = griffe.load("lazyrich", search_paths=[ROOT / "src"], resolve_aliases=True)
    for name, place in entries().items():
        value = operator.attrgetter(name.removeprefix("lazyrich."))(lr)
        shown = package[place.removeprefix("lazyrich.")]
        if inspect.isclass(value):
            assert shown.is_class, name
        elif inspect.isfunction(value):
            assert shown.is_function, f"{name}: run python mkdocs_tables.py"
            assert [each.name for each in shown.parameters] == [
                *inspect.signature(value).parameters
            ]
        else:
            assert not shown.is_module, name


def test_public_methods_are_documented():
    for name, value in public_names().items():
        if inspect.isclass(value):
            for method, member in inspect.getmembers(value, inspect.isroutine):
                own = getattr(member, "__module__", None) or ""
                if own.startswith("lazyrich.") and not method.startswith("_"):
                    # A method that overrides another has its docstring.
                    assert inspect.getdoc(member), f"{name}.{method} has no docstring"


def theorems():
    """The rows of the table of theorems: statement, quantity, function and test."""
    lines = (ROOT / "docs" / "reference" / "theorems.md").read_text().splitlines()
    return [re.split(r"\s*\|\s*", line)[1:-1] for line in lines if "::" in line]


def test_the_table_of_theorems_names_what_there_is():
    rows = theorems()
    assert len(rows) > 30
    variables = {*lr.records.VARIABLES, *lr.summarise(LOGGED)}
    for statement, quantity, function, tests in rows:
        found = re.findall(r"\[lazyrich\.([\w.]+)\]", function)
        assert found, statement
        for name in found:
            assert operator.attrgetter(name)(lr), statement
        for file, test in re.findall(r"`(test_\w+\.py)::(test_\w+)`", tests):
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), statement
        for name in re.findall(r"`(\w+)`", quantity):
            assert name in variables | FORECAST | ROLES or hasattr(lr.dynamics, name), statement


def test_files_are_small():
    lengths = {str(path): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert max(lengths.values()) < 350, lengths


def test_toml_is_read_by_the_reader_with_limits():
    found = {path.name for path in SOURCE.rglob("*.py") if "tomllib" in path.read_text()}
    assert found == {"toml.py"}


def concrete_kinds() -> dict[str, str]:
    """The package of every final subclass of a `Choice`, by the class's name."""
    places = Choice.__subclasses__()
    found: dict[str, str] = {}
    while places:
        kind = places.pop()
        places += kind.__subclasses__()
        package = kind.__module__.split(".")
        if package[0] == "lazyrich" and not inspect.isabstract(kind):
            found[kind.__name__] = package[1]
    return found


def named_in(tree: ast.expr) -> set[str]:
    """The names in the second argument of `isinstance`."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_a_concrete_kind_is_asked_for_in_its_own_package_alone():
    kinds = concrete_kinds()
    assert {"MLP": "models", "Squared": "losses", "Flow": "dynamics"}.items() <= kinds.items()
    found = set()
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE)
        own = place.parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, asked]):
                    others = {name for name in named_in(asked) if kinds.get(name, own) != own}
                    found |= {f"{place}: {name}" for name in others}
    assert not found
