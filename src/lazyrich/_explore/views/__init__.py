"""Views of a run over time: what a net has inside."""

from collections.abc import Callable, Iterator

from ._base import Looked as Looked, View as View, short as short
from .committee import committee
from .linear import linear
from .modular import fourier
from .spectra import layers, spectrum

VIEWS: tuple[Callable[[Looked], Iterator[View]], ...] = (
    linear, fourier, committee, spectrum, layers,
)  # fmt: skip
"""Every view; each is empty for a run that it does not apply to."""
