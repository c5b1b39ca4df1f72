"""Names and marks of keys, values and outcomes in figures."""

from typing import Any

from ...sweeps.runs import Runs, as_table, levels
from ..description.style import Marker
from ..description.ticks import number_text, written_out

_SYMBOLS = {
    "init_scale": "initial scale α",
    "weight_decay": "weight decay λ",
    "model.output_scale": "output scale α_out",
    "model.epsilon": "curvature ε",
    "dynamics.learning_rate": "learning rate η",
    "task.n": "training samples P",
    "task.k": "coordinates k",
    "task.gamma": "separation γ",
    "task.random_labels": "random labels",
    "task.index": "eigenvector j",
}


# Marks of single runs.
MARKS: dict[str, Marker] = {
    "grokked": "circle",
    "misgrokked": "down",
    "immediate": "square",
    "gradual": "diamond",
    "improved": "up",
    "unchanged": "cross",
    "not_within_budget": "cross",
    "untrained": "plus",
    "collapsed": "tri",
    "unscored": "dot",
    "failed": "star",
    "diverged": "star",
}


def symbol(key: str) -> str:
    """A dotted key in words; a key of a wrapped model as that of the model."""
    found = key
    while found.startswith("model.model."):
        found = found.removeprefix("model.")
    return _SYMBOLS.get(found, key)


def worded(value: Any) -> str:
    """A value in words; a table by its kind and its other fields."""
    table = as_table(value)
    if table is None:
        short = written_out(value) if isinstance(value, float) else str(value)
        return number_text(value) if isinstance(value, float) and "e" in short else short
    rest = [f"{key} = {worded(item)}" for key, item in table.items() if key != "kind"]
    return ", ".join([*([str(table["kind"])] if "kind" in table else []), *rest])


def titles(runs: Runs, shown: str) -> list[str]:
    """What distinguishes the axes of a figure, a title for each run.

    That is the other keys with several values, without `shown`, keys in step with it, and seeds.
    A key that is true is named without its value.
    """
    others = [k for axis in runs.keys if shown not in axis.split(",") for k in axis.split(",")]
    parts = []
    for key in others:
        values = runs.key(key, "key")
        if key.endswith("seed") or len(levels(values)[0]) < 2:
            continue
        parts.append([_titled(symbol(key), value) for value in values.tolist()])
    rows = [", ".join(filter(None, row)) for row in zip(*parts, strict=True)]
    return rows or [""] * runs.data.sizes["run"]


def _titled(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else ""
    return f"{name} = {worded(value)}"
