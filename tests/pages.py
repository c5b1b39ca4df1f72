"""The pages of the documentation as blocks of code, in their order, and what their code prints."""

import math
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?"
    r"^```(?P<kind>python|console|text)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"(?<![\w.^{])-?\d[\d,]*(?:\.\d*)?(?:e[-+]?\d+)?(?![\w])")
# What a page says of a number may differ by this, and by its last digit.
_WITHIN = 0.02


class Block(NamedTuple):
    """A fenced block; `why` says why it is not run, and is empty if it is.

    A block of text after one of Python has what the code prints; `within` is how far numbers may
    be off, if they are not those of every machine.
    """

    kind: str
    text: str
    why: str
    within: float

    def commands(self) -> Iterator[list[str]]:
        """The words of every command of a console block."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield shlex.split(line[2:], comments=True)

    def shown(self) -> list[str]:
        """The lines of output of a console block."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if not line.startswith("$ ")]


def pages() -> dict[str, str]:
    """The text of every page by its name, the README among them."""
    found = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
    found["README.md"] = ROOT / "README.md"
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


def blocks(text: str) -> list[Block]:
    """The blocks of Python, of the command line and of output on a page."""
    found = []
    for match in _BLOCK.finditer(text):
        note = match["note"] or ""
        why = note.removeprefix("not run: ") if note.startswith("not run: ") else ""
        share = re.fullmatch(r"within (\d+) %", note)
        within = int(share[1]) / 100 if share else _WITHIN
        found.append(Block(match["kind"], match["text"], why, within))
    return found


def entries() -> dict[str, str]:
    """The names that have an entry on the API pages, each with the path that the site shows."""
    named = re.compile(r"^(?:\[\]\(\)\{#([\w.]+)\}\n\n)?::: ([\w.]+)$", re.MULTILINE)
    found: dict[str, str] = {}
    for path in (DOCS / "reference" / "api").glob("*.md"):
        found |= {name or place: place for name, place in named.findall(path.read_text())}
    return found


class Printer:
    """Runs Python blocks of a page in one namespace, and keeps what each line prints."""

    def __init__(self, page: str):
        self.page = page
        self.space: dict[str, Any] = {"print": self._print}
        self.lines: dict[int, list[str]] = defaultdict(list)

    def _print(self, *values: Any, sep: str = " ", **named: Any) -> None:
        del named
        self.lines[sys._getframe(1).f_lineno].append(sep.join(map(str, values)))

    def run(self, block: Block) -> None:
        """Runs a block, and compares numbers in comments after `print` with what was printed."""
        self.lines.clear()
        exec(compile(block.text, self.page, "exec"), self.space)
        for number, line in enumerate(block.text.splitlines(), 1):
            said = re.search(r"^\s*print\(.*\)  # (.*)$", line)
            if said:
                printed = " ".join(self.lines[number])
                check(f"{self.page}: {line}", said[1], printed, block.within)

    def compare(self, block: Block) -> None:
        """Compares the numbers of a block of output with those that the last code printed."""
        printed = "\n".join("\n".join(texts) for _, texts in sorted(self.lines.items()))
        check(self.page, block.text, printed, block.within)


def numbers(text: str) -> list[tuple[float, float]]:
    """The numbers in a text, each with half of its last digit."""
    found = []
    for match in _NUMBER.finditer(text):
        shown = match[0].rstrip(",").replace(",", "")
        digits, _, power = shown.partition("e")
        places = len(digits.partition(".")[2])
        found.append((float(shown), 0.5 * 10.0 ** (int(power or 0) - places)))
    return found


def check(where: str, said: str, printed: str, within: float) -> None:
    """Every number that is said is printed, in the same order; others may be printed between."""
    left = iter(numbers(printed))
    for value, unit in numbers(said):
        near = (math.isclose(value, o, rel_tol=within, abs_tol=1.01 * unit) for o, _ in left)
        assert any(near), f"{where}: {value:g} is not in: {printed}"


def check_lines(where: str, said: list[str], printed: str, within: float) -> None:
    """Every line that is said is printed, in the same order, but for `...` and small differences.

    Numbers may differ by a share of `within` or by their last digit, and blanks in number.
    """
    left = iter(printed.splitlines())
    for line in said:
        if line.strip() not in ("", "..."):
            same = (_are_alike(line, other, within) for other in left)
            assert any(same), f"{where}: {line!r} is not in:\n{printed}"


def _are_alike(said: str, printed: str, within: float) -> bool:
    ours, theirs = ([part.split() for part in _NUMBER.split(line)] for line in (said, printed))
    return ours == theirs and all(
        math.isclose(value, other, rel_tol=within, abs_tol=1.01 * unit)
        for (value, unit), (other, _) in zip(numbers(said), numbers(printed), strict=True)
    )
