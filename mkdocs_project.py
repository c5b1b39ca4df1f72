"""The site shows the changelog, how to contribute and other files of the root.

A hook of MkDocs: the pages are made as the site is built, so each text is in one place.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent
PAGES = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
}
LICENCE = "https://www.apache.org/licenses/LICENSE-2.0"
_LINK = re.compile(r"\]\(([\w./-]+)([^)]*)\)")


def page(name: str) -> str:
    """A file of the root, with its links as they are from `docs/project`."""
    return _LINK.sub(_moved, (ROOT / name).read_text(encoding="utf-8"))


def _moved(link: re.Match[str]) -> str:
    target, rest = link[1], link[2]
    if target == "LICENSE":
        return f"]({LICENCE})"
    if target in PAGES:
        return f"]({Path(PAGES[target]).name}{rest})"
    if target.startswith("docs/"):
        return f"](../{target.removeprefix('docs/')}{rest})"
    return link[0]


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to the site."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, content=page(name)))
    return files
