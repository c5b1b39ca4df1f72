"""The spectrum of what the last linear map gets."""

from typing import Any

import torch
from torch import Tensor

from ..view import View

# Beyond this width, the covariance is that of this many random projections of the features.
_WIDEST = 2048


def spectral_entropy(view: View) -> dict[str, Any]:
    r"""Entropy $-\sum p_i \log p_i$ of the eigenvalues of the penultimate covariance.

    In nats; $p_i$ are the eigenvalues over their sum. Its exponential is an effective number of
    directions: 1 for features on a line, the width for white noise.

    - **Source** Roy & Vetterli, EUSIPCO 2007: "effective rank".
    """
    if view.features is None:
        return {}
    return {"spectral_entropy": entropy_of(view.features.double())}


def entropy_of(rows: Tensor) -> float:
    """The entropy of the covariance of rows, `(samples, width)`; NaN if they are equal."""
    rows = rows - rows.mean(0)
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    total = values.sum()
    if not float(total) > 0:
        return float("nan")
    shares = values / total
    return float(torch.special.entr(shares).sum())
