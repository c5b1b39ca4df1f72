"""Writes the pages of reference that follow from the code: keys, command line, what to do next."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

from lazyrich._core.description import Choice
from lazyrich.cli import app
from lazyrich.cli.kinds import KEYS_FILE, keys_text
from lazyrich.dynamics import Ending
from lazyrich.experiments import Experiment
from lazyrich.forecasts.verdict import Verdict
from lazyrich.records.transition.words import MEANINGS, Outcome, advice_on, advice_on_ending

DOCS = Path(__file__).parent / "docs"


def pages() -> dict[Path, str]:
    """The pages that are written as a whole, by their paths."""
    return {
        DOCS / "reference" / "cli.md": command_line(),
        DOCS / "reference" / "experiment.md": experiment_keys(),
    }


def tables() -> dict[str, str]:
    """Parts of the page of what to do next, by the names that stand around them."""
    found = {f"outcome {name}": _outcome(name) for name in get_args(Outcome)}
    return found | {f"ending {name}": _ending(name) for name in get_args(Ending)}


def sections() -> dict[str, tuple[str, ...]]:
    """What the page of what to do next has a section for."""
    return {
        "outcome": get_args(Outcome),
        "verdict": get_args(Verdict),
        "ending": get_args(Ending),
    }


def _ending(name: str) -> str:
    words = advice_on_ending(name)
    return f"The solve {words}." if words else "The solve did what was asked for."


def _outcome(name: str) -> str:
    lines = [
        f"The run {MEANINGS[name]}.",
        "",
        "| the run has | next | for a log |",
        "|---|---|---|",
    ]
    for state, words in (("settled", "settled"), ("moving", "not settled")):
        ours = advice_on(name, state, "completed")  # type: ignore[arg-type]
        theirs = advice_on(name, state, "completed", logged=True)  # type: ignore[arg-type]
        lines.append(f"| {words} | {ours} | {theirs} |")
    return "\n".join(lines)


# Keys of an experiment.


def experiment_keys() -> str:
    """The page of the keys of an experiment, for files, `--set`, `--over` and `with_changes`."""
    lines = [
        "# Keys of an experiment",
        "",
        "This page lists every key of an [`Experiment`][lazyrich.Experiment]. The same dotted keys",
        "are used in TOML files, in `with_changes` of Python, and in `--set` and `--over` of the",
        "command line. `python mkdocs_tables.py` writes this page from the code.",
        "",
        "```toml",
        "init_scale = 100.0          # top level",
        "weight_decay = 1e-3",
        "",
        "[task]                      # a table for each part",
        'kind = "SparseClassification"',
        "n = 16",
        "```",
        "",
        "## Top level",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    places = []
    for name, field in Experiment.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, Choice):
            places.append((name, kind))
        elif field.description:
            lines.append(f"| `{name}` | {_default(field, name)} | {_cell(field.description)} |")
    for name, place in places:
        default = Experiment.model_fields[name].get_default()
        shown = "" if not isinstance(default, place) else f" The default is `{_kind_of(default)}`."
        lines += ["", f"## `{name}`", "", f"`{name}.kind` is one of these.{shown}", ""]
        lines += ["| kind | keys with defaults |", "|---|---|"]
        lines += list(_kinds(name, place))
    return "\n".join(lines) + "\n"


def _kind_of(value: Any) -> str:
    return str(type(value).kind_name())


def _kinds(name: str, place: Any) -> Iterator[str]:
    for kind in sorted(place.kinds.values(), key=lambda kind: str(kind.kind_name())):
        if not kind.__module__.startswith("lazyrich."):
            continue
        keys = []
        for key in kind.file_keys():
            field = kind.model_fields.get(key)
            default = "" if field is None else _default(field, key)
            keys.append(f"`{key}` = {default}" if default else f"`{key}`")
        entry = f"[`{kind.kind_name()}`][lazyrich.{_namespace(name)}.{kind.__name__}]"
        yield f"| {entry} | {', '.join(keys) or kind.own_code} |"


def _namespace(name: str) -> str:
    return {"task": "tasks", "model": "models", "loss": "losses"}.get(name, name)


def _default(field: Any, key: str) -> str:
    """A default that a file can contain, short enough for a table."""
    value = field.get_default(call_default_factory=True)
    if not isinstance(value, bool | str | int | float | tuple) or key == "probes":
        return ""
    try:
        shown = json.dumps(value)
    except TypeError:
        return ""
    return f"`{shown}`" if len(shown) < 40 else ""


# The command line.


def command_line() -> str:
    """The page of the command line: every command with its arguments and options."""
    group: Any = typer.main.get_command(app)
    # The commands have the keys of the file, which can be older than the classes.
    written = KEYS_FILE.read_text(encoding="utf-8")
    lines = [
        "# Command line",
        "",
        "This page lists every command with its options, as `lazyrich COMMAND --help` does.",
        "`python mkdocs_tables.py` writes this page from the code.",
        "",
        "[Keys of an experiment](experiment.md) has the keys of `--set` and `--over`. "
        "`lazyrich --version` prints",
        "the version.",
    ]
    for name, command in group.commands.items():
        words = (command.help or "").replace(written, keys_text())
        lines += ["", f"## `lazyrich {name}`", "", *_help(words), ""]
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [_parameter(each) for each in command.params if not _is_help(each)]
    return "\n".join(lines) + "\n"


def _is_help(parameter: Any) -> bool:
    return bool(parameter.name == "help")


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
        return f"| {name} | {_cell(getattr(parameter, 'help', '') or '')} |"
    names = ", ".join(f"`{each}`" for each in [*parameter.opts, *parameter.secondary_opts])
    value = f" `{_cell(parameter.metavar)}`" if parameter.metavar else ""
    return f"| {names}{value} | {_cell(parameter.help or '')} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def _help(text: str) -> list[str]:
    """Help of a command: paragraphs as text, blocks after `\\b` as they stand; no list of keys."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        if part.lstrip().startswith("\b"):
            block = part.lstrip().removeprefix("\b").strip("\n")
            if block.startswith("Keys for"):
                continue
            code = any(line.startswith("  ") for line in block.splitlines())
            lines += ["", "```text", block, "```"] if code else ["", block]
        elif not part.startswith("'lazyrich list --kinds'"):
            lines += ["", part]
    return lines[1:]
