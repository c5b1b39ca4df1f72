"""Texts of a log that are numbers for a reader, though not for Python."""

import re
from typing import NamedTuple

# Digits in groups of three, with an apostrophe or one of the spaces that spreadsheets write.
_GROUPS = re.compile(r"[-+]?\d{1,3}([ '\u00a0\u2009\u202f\u2019])\d{3}(\1\d{3})*(\.\d+)?")
# The same with commas. With one comma and no point it can be a decimal comma.
_COMMAS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_NO_DIGIT = re.compile(r"[^-+.\d]")
# A number with a decimal comma.
_DECIMAL = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?\s*%?")


class Written(NamedTuple):
    """A number that was written for readers.

    - `is_percent`, whether it had a percent sign: `value` is then in percent. `has_groups`, whether
        its digits are in groups; `is_sure`, whether its comma can be no decimal comma.
    """

    value: float
    is_percent: bool
    has_groups: bool
    is_sure: bool


def written(cell: str) -> Written | None:
    """The number that a text means, such as `1,091.5`, `1 091` or `98 %`; None if there is none."""
    text = cell.strip()
    is_percent = text.endswith("%")
    text = text.removesuffix("%").rstrip()
    has_commas = _COMMAS.fullmatch(text) is not None
    has_groups = has_commas or _GROUPS.fullmatch(text) is not None
    if not (is_percent or has_groups):
        return None
    is_sure = not has_commas or text.count(",") > 1 or "." in text
    try:
        value = float(_NO_DIGIT.sub("", text) if has_groups else text)
    except ValueError:
        return None
    return Written(value, is_percent, has_groups, is_sure)


def number_wanted(text: str) -> str:
    """The message for a cell that is not a number."""
    if _DECIMAL.fullmatch(text.strip()):
        return "should be a number with a decimal point: replace the decimal commas"
    return "should be a number"


def comma_unclear(text: str) -> str:
    """The message for a comma that separates thousands or decimals."""
    plain = text.strip()
    return (
        f"could be {plain.replace(',', '')} or {plain.replace(',', '.')}: write it without a comma"
    )
