"""TOML from other sources, with limits on size and depth, and one type of error."""

import re
import tomllib
from typing import Any

from .errors import one_line

# The largest description in letters; most have thousands. Python parses so many in a second.
MAX_BYTES = 2**18
# The largest depth of tables in tables. A model in a model in an experiment in a sweep has six.
_MAX_DEPTH = 32
# Where tomllib says that an error is, and a number with a decimal comma as a value.
_LINE = re.compile(r"at line (\d+)")
_COMMA = re.compile(r"=\s*[-+]?\d+,\d")


def parse_toml(text: str, most: int = MAX_BYTES) -> dict[str, Any]:
    """The tables of a TOML document.

    - **Raises** `ValueError`, in one line, for text that is not valid TOML, is longer than `most`,
        or is nested too deeply.
    """
    if len(text) > most:
        raise ValueError(f"it has {len(text):,} letters, more than {most:,} are not read")
    if _brackets(text) > _MAX_DEPTH or _dots(text) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{error}{_line_of(str(error), text)}") from None
    if _depth(table) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    return table


def _line_of(error: str, text: str) -> str:
    """The line that an error of tomllib names, and what may be wrong in it."""
    found = _LINE.search(error)
    # tomllib counts only line feeds.
    lines = text.split("\n")
    if found is None or not 1 <= int(found[1]) <= len(lines):
        return ""
    line = lines[int(found[1]) - 1]
    hint = ": numbers have a decimal point, such as 0.01" if _COMMA.search(line) else ""
    return f", in the line {one_line(line, 80)!r}{hint}"


def _brackets(text: str) -> int:
    """An upper bound of the depth of brackets; includes brackets in strings and comments."""
    depth = deepest = 0
    for part in text.replace("{", "[").replace("}", "]").split("["):
        depth = max(0, depth + 1 - part.count("]"))
        deepest = max(deepest, depth)
    return deepest


def _dots(text: str) -> int:
    """The number of parts in the longest dotted key. tomllib's time grows with its square."""
    run = longest = 0
    for part in text.split("."):
        word = part.strip(" \t")
        is_part = len(word) > 0 and (word[0] in "\"'" or not any(c in word for c in " \t,=\n"))
        run = run + 1 if is_part else 0
        longest = max(longest, run)
    return longest


def _depth(table: Any) -> int:
    """The depth of tables and lists."""
    deepest, left = 0, [(table, 1)]
    while left:
        value, depth = left.pop()
        deepest = max(deepest, depth)
        if deepest > _MAX_DEPTH:
            return deepest
        inner = value.values() if isinstance(value, dict) else value
        left += [(item, depth + 1) for item in inner if isinstance(item, dict | list)]
    return deepest


def writable(value: Any) -> Any:
    """Tables as a file can contain them; other objects are replaced by their names."""
    if isinstance(value, dict):
        return {str(key): writable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [writable(item) for item in value]
    if isinstance(value, str | bool | int | float):
        return value
    # Imported here, because descriptions import JAX, and commands that only read TOML start fast.
    from .description import described_function

    return described_function(value if callable(value) else type(value))
