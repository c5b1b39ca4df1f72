"""Numbers in words, rounded so that they stay on their side of a threshold."""


def percent(share: float, *limits: float) -> str:
    """A share in percent, in at least two digits, on its own side of all limits."""
    value = 100 * share
    texts = [f"{value:.0f}"] if value >= 10 else []
    texts += [f"{value:.{num}g}" for num in range(2, 17)]
    return f"{_true(texts, value, [100 * limit for limit in limits])} %"


def digits(value: float, *limits: float) -> str:
    """A number in at least two digits, on its own side of all limits."""
    return _true([f"{value:.{num}g}" for num in range(2, 17)], value, limits)


def _true(texts: list[str], value: float, limits: "list[float] | tuple[float, ...]") -> str:
    """The shortest text whose number is below a limit exactly if the value is."""
    for text in texts:
        if all((float(text) < limit) == (value < limit) for limit in limits):
            return text
    return texts[-1]
