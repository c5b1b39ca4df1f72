"""Writes the pages of the API reference, one a namespace, from the public names of the package."""

import dataclasses
import inspect
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import griffe

import lazyrich as lr

FOLDER = Path(__file__).parent / "docs" / "reference" / "api"

# What explains a namespace, as (title, page).
_SEE = {
    "claims": [("How claims are judged", "../../explanation/claims.md")],
    "dynamics": [
        ("The flow engine", "../../explanation/flow.md"),
        ("The exact reduction", "../../explanation/reduction.md"),
        ("Compare optimisers", "../../how-to/compare-optimisers.md"),
    ],
    "experiments": [("Keys of an experiment", "../experiment.md")],
    "forecasts": [("The forecast", "../../explanation/forecast.md")],
    "kernel": [("The kernel side", "../../explanation/kernel.md")],
    "losses": [("Your own loss", "../../how-to/own-loss.md")],
    "maps": [("Maps", "../../how-to/maps.md")],
    "models": [("Your own model", "../../how-to/own-kinds.md")],
    "plot": [("Figures", "../../how-to/figures.md")],
    "predictors": [("Predictors and certificates", "../../explanation/predictors.md")],
    "probes": [("Reading a record", "../record.md")],
    "records": [("Reading a record", "../record.md")],
    "solvers": [("The flow engine", "../../explanation/flow.md")],
    "studies": [("Studies", "../studies.md")],
    "sweeps": [("Maps", "../../how-to/maps.md"), ("The store", "../store.md")],
    "tasks": [("Your own data", "../../how-to/own-data.md")],
    "torch": [
        ("Watch a PyTorch training", "../../how-to/watch-torch.md"),
        ("A PyTorch module", "../../how-to/torch.md"),
    ],
    "trackers": [("Trackers", "../../how-to/trackers.md")],
}

# Packages inside of a namespace, which are documented on its page.
_INNER = {"plot": ("describe", "description", "figures")}

# Public tables, which have no type of ours by which they could be found.
_DATA = ("ATTRIBUTES", "VARIABLES", "BUILT_IN", "ON_REQUEST", "CERTIFIED", "PANELS")

# Headings of the names at the top of the package, by the packages that define them.
_TOP = {
    "Run": ("experiments", "_run"),
    "Forecast": ("forecasts",),
    "Read": ("records", "plot"),
    "Sweep": ("sweeps",),
    "Reproduce and explore": ("_reproduce", "_explore"),
    "Errors": ("_core",),
}


def namespaces() -> dict[str, ModuleType]:
    """The public packages by name."""
    return {name: value for name, value in sorted(top().items()) if inspect.ismodule(value)}


def top() -> dict[str, Any]:
    """What is public at the top of the package, the namespaces among it."""
    names: list[str] = vars(lr)["__all__"]
    return {name: getattr(lr, name) for name in names if not name.startswith("_")}


def pages() -> dict[str, str]:
    """Every page of the API reference by the name of its file."""
    written = {f"{name}.md": _page(name, module) for name, module in namespaces().items()}
    return {"index.md": _index(), **written}


def names_of(place: ModuleType) -> dict[str, Any]:
    """The public names that a package defines, in the order in which a page lists them."""
    found = {}
    for name in {*dir(place), *getattr(place, "__all__", ())}:
        value = getattr(place, name)
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if name in _DATA or getattr(value, "__module__", "").startswith("lazyrich."):
            found[name] = value
    return dict(sorted(found.items(), key=lambda item: (_rank(*item), item[0].lower())))


def _rank(name: str, value: Any) -> int:
    """Abstract classes, classes, functions, data."""
    if inspect.isclass(value):
        return 0 if name.startswith("Abstract") else 1
    return 2 if callable(value) else 3


def _index() -> str:
    lines = [
        "# API",
        "",
        "Every public name has an entry. `import lazyrich as lr` makes all of them available. "
        "Names that",
        "begin with an underscore, and modules whose names begin with one, are private.",
        "`python mkdocs_tables.py` writes these pages from the code.",
        "",
        "| namespace | content |",
        "|---|---|",
    ]
    for name, module in namespaces().items():
        lines.append(f"| [`lr.{name}`]({name}.md) | {_summary(module)} |")
    for title, packages in _TOP.items():
        lines += ["", f"## {title}"]
        for name, value in top().items():
            if not inspect.ismodule(value) and value.__module__.split(".")[1] in packages:
                lines += _entry(f"lazyrich.{name}", value)
    return "\n".join(lines) + "\n"


def _page(name: str, module: ModuleType) -> str:
    lines = [f"# `lr.{name}`", "", _summary(module)]
    if name in _SEE:
        links = ", ".join(f"[{title}]({page})" for title, page in _SEE[name])
        lines += ["", f"See also: {links}."]
    at_top = {id(value): other for other, value in top().items()}
    own = names_of(module)
    moved = sorted(at_top[id(value)] for value in own.values() if id(value) in at_top)
    if moved:
        links = ", ".join(f"[`lr.{other}`][lazyrich.{other}]" for other in moved)
        lines += ["", f"At the top of the package: {links}."]
    for member, value in own.items():
        if id(value) not in at_top:
            lines += _entry(f"lazyrich.{name}.{member}", value)
    for inner in _INNER.get(name, ()):
        package, path = getattr(module, inner), f"{name}.{inner}"
        lines += ["", f"## `lr.{path}`", "", _summary(package)]
        for member, value in names_of(package).items():
            if id(value) not in at_top and (member not in own or own[member] is not value):
                lines += _entry(f"lazyrich.{path}.{member}", value, level=3)
    return "\n".join(lines) + "\n"


def _summary(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")


def _entry(path: str, value: Any, level: int = 2) -> list[str]:
    options = []
    if level != 2:
        options.append(f"      heading_level: {level}")
    if _has_fields(value):
        options.append("      show_if_no_docstring: true")
    where = _place(path, value)
    lines = ["", f"[](){{#{path}}}"] if where != path else []
    return [*lines, "", f"::: {where}", *(["    options:", *options] if options else [])]


def _place(path: str, value: Any) -> str:
    """The path by which the site shows a name, and not the module that has the same name."""
    shown = _package()[path.removeprefix("lazyrich.")]
    return f"{value.__module__}.{path.rpartition('.')[2]}" if shown.is_module else path


@cache
def _package() -> griffe.Object | griffe.Alias:
    """The package as the site reads it."""
    source = Path(__file__).parent / "src"
    return griffe.load("lazyrich", search_paths=[source], resolve_aliases=True)


def _has_fields(value: Any) -> bool:
    """Whether a class is a description by its fields, which are then listed."""
    if not inspect.isclass(value) or inspect.isabstract(value):
        return False
    described = dataclasses.is_dataclass(value) and bool(dataclasses.fields(value))
    return described or bool(getattr(value, "model_fields", None) or hasattr(value, "_fields"))


def main() -> None:
    """Writes all pages, and removes those of namespaces that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
