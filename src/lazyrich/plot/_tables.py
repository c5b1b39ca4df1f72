"""A study's tables as Markdown."""

import math
from collections.abc import Sequence

from ..studies import PanelResult, Row
from ._page import number

_OVERVIEW = ("panel", "how it came out", "published numbers that agree", "claims")
_MEASURED = ("quantity", "published", "measured", "range over runs", "ratio", "agrees?")
_CLAIMED = ("claim", "how measured", "criterion", "ours", "holds?")


def notes(result: PanelResult) -> list[str]:
    """Where and why our numbers differ: the notes of the source's numbers and of the panel."""
    published = result.published
    found = [None if part is None else part.note for part in (published, result.panel)]
    return [" ".join(note.split()) for note in found if note]


def overview(result: PanelResult) -> dict[str, str]:
    """The outcomes of a panel's runs, and how many numbers agree and claims hold."""
    outcomes = [f"{n} {kind.replace('_', ' ')}" for kind, n in result.outcomes.items()]
    agree = sum(row.agrees for row in result.rows)
    found = [claim.holds for claim in result.claims]
    kinds = {"yes": "hold", "no": "do not", "cannot say": "cannot be said"}
    claims = [f"{found.count(kind)} {word}" for kind, word in kinds.items() if kind in found]
    return {
        "outcomes": ", ".join(outcomes),
        "rows": f"{agree} of {len(result.rows)}" if result.rows else "–",
        "claims": ", ".join(claims) or "–",
    }


def markdown(results: Sequence[PanelResult]) -> str:
    """A table of all panels, and the two tables of each, as Markdown."""
    rows: list[tuple[str, ...]]
    rows = [(result.name, *overview(result).values()) for result in results]
    parts = [_table(_OVERVIEW, rows)]
    for result in results:
        runs = f"{len(result.sweep)} run{'s' if len(result.sweep) > 1 else ''}"
        parts.append(f"### Panel {result.name}\n\n{runs}: {overview(result)['outcomes']}.\n")
        if result.rows:
            parts.append(_table(_MEASURED, [_cells(row) for row in result.rows]))
        if result.claims:
            rows = [(v.claim.text, v.how, v.published, v.ours, v.holds) for v in result.claims]
            parts.append(_table(_CLAIMED, rows))
        parts += [f"{note}\n" for note in notes(result)]
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    where = f", {row.where}" if row.where else ""
    never = f", {row.num_never} never" if row.num_never else ""
    span = f"{_number(row.low)} – {_number(row.high)}{never}"
    shown = (_number(row.published), _number(row.median), span, _number(row.ratio))
    return (f"`{row.key}`{where}", *shown, "yes" if row.agrees else "no")


def _number(value: float) -> str:
    return number(None if math.isnan(value) else value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[c.replace("|", r"\|") for c in line] for line in (head, ["---"] * len(head), *rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
