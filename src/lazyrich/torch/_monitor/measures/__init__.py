"""What a monitor measures, an idea a file."""

from collections.abc import Callable
from typing import Any

from ..view import View
from .arrival import arrival as arrival, invariance as invariance
from .features import spectral_entropy as spectral_entropy
from .fit import fit as fit, saturation as saturation
from .fourier import fourier as fourier
from .norms import drift as drift, norms as norms
from .tangent import tangent as tangent

MEASURES: dict[str, Callable[[View], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        norms, drift, saturation, tangent, invariance, arrival, spectral_entropy, fourier
    )
}  # fmt: skip
"""Every measure but losses and accuracies, which a record cannot lack."""
