"""The pages of the documentation as blocks of code, in their order."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]*) -->\n)?^```(?P<kind>python|console)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block; `why` says why it is not run, and is empty if it is."""

    kind: str
    text: str
    why: str

    def commands(self) -> Iterator[list[str]]:
        """The words of every command of a console block."""
        lines = self.text.replace("\\\n", " ").splitlines()
        for line in lines:
            if line.startswith("$ "):
                yield shlex.split(line[2:], comments=True)


def pages() -> dict[str, str]:
    """The text of every page by its name, the README among them."""
    found = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
    found["README.md"] = ROOT / "README.md"
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


def blocks(text: str) -> list[Block]:
    """The blocks of Python and of the command line on a page."""
    return [Block(m["kind"], m["text"], m["why"] or "") for m in _BLOCK.finditer(text)]
