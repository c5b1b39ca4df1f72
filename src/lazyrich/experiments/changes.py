"""Changes to the table of an experiment, by dotted keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._core.description import Description, unknown_key
from .._core.errors import InputError
from .._core.given import check_kind


def first_parts(changes: Mapping[str, Any]) -> set[str]:
    """The first parts of dotted keys: the fields of an experiment that change.

    - **Raises** [`InputError`][lazyrich.InputError] for anything but values by dotted key.
    """
    check_kind("changes", changes, Mapping, "values by dotted key, such as {'task.n': 40}")
    for key in changes:
        check_kind("changes", key, str, "values by dotted key, such as {'task.n': 40}")
    return {key.split(".")[0] for key in changes}


def set_keys(table: dict[str, Any], changes: Mapping[str, Any], fields: list[str]) -> None:
    """Sets dotted keys in a table. A new `kind` drops the fields of the old kind.

    - **Takes** `fields`, the accepted first parts of a key.
    - **Raises** [`InputError`][lazyrich.InputError] for a key in a part that has no fields.
    """
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        place: Any = table
        for depth, parent in enumerate(parents):
            # Only changed parts become tables, because a user's own model cannot become one.
            if isinstance(place.get(parent), Description):
                place[parent] = place[parent].table()
            if not isinstance(place.get(parent), dict):
                raise unknown_key(key, value, fields if depth == 0 else list(place))
            place = place[parent]
        if leaf == "kind" and place.get("kind") != value:
            place.clear()
        place[leaf] = value


def with_data_changes(
    table: dict[str, Any], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table after the changes to a task with a `path`, and the other changes.

    A change of the `path` itself, or of the `kind`, begins another task and is not made here.
    """
    first_parts(changes)
    task, begins = table.get("task"), {"task", "task.path", "task.kind"}
    if not isinstance(task, dict) or "path" not in task or begins & changes.keys():
        return table, dict(changes)
    early = {key: value for key, value in changes.items() if key.startswith("task.")}
    if not early:
        return table, dict(changes)
    changed = {**task, **{key.removeprefix("task."): value for key, value in early.items()}}
    # Published numbers are of the data as the file describes them.
    kept = {key: value for key, value in table.items() if key != "published"}
    later = {key: value for key, value in changes.items() if key not in early}
    return {**kept, "task": changed}, later


def check_read_again(changes: Mapping[str, Any], file_options: tuple[str, ...]) -> None:
    """Refuses changes that would read data from a file, where there is no file to read.

    - **Takes** `file_options`, the keys that say how the file of the task was read.
    """
    if "task.path" in changes:
        key, what = "task.path", "names a file of data"
    else:
        found = [name for name in file_options if f"task.{name}" in changes]
        if not found:
            return
        key, what = f"task.{found[0]}", "says how to read a file"
    accepted = f"{what}, and data are read once: use a sweep or a run of its own for each value, "
    raise InputError(key, changes[key], f"{accepted}with --set {key}=VALUE")


def check_same_folder(task: dict[str, Any]) -> None:
    """Refuses a task whose data are outside the folder of the text that names them."""
    path = task.get("path")
    if isinstance(path, str) and Path(path).name != path:
        raise InputError("task.path", path, "should name a file in the same folder")
