"""Participation of Fourier modes over residues, for embeddings and for layers on one-hot inputs."""

from typing import Any

import torch
from torch import Tensor, nn

from ..view import DENSE, View

# Tokens beside the residues, such as one for the sign of equality.
_MOST_SPECIAL = 8


def fourier(view: View) -> dict[str, Any]:
    """Inverse participation ratios of the first layer or the embedding, and of the last layer."""
    p = view.setting.residues
    if p is None:
        return {}
    found = {}
    for name, rows in (("first", _first(view, p)), ("last", _last(view, p))):
        if rows is not None:
            found[f"fourier_ipr_{name}"] = participation(spectrum(rows.double().cpu(), p))
    return found


def spectrum(rows: Tensor, p: int) -> Tensor:
    """The power of each row at frequencies 1 to p/2, as `lazyrich.probes.residue_spectrum`."""
    blocks = rows.reshape(len(rows), -1, p)
    blocks = blocks - blocks.mean(2, keepdim=True)
    power = (torch.fft.rfft(blocks, dim=2).abs() ** 2).sum(1)[:, 1:]
    pairs = torch.full((power.shape[1],), 2.0, dtype=power.dtype)
    if p % 2 == 0:
        pairs[-1] = 1.0
    return power * pairs / p


def participation(power: Tensor) -> float:
    """The inverse participation ratio, weighted by power, as `lazyrich.probes.participation`."""
    whole = power.sum(1)
    if not float(whole.sum()) > 0:
        return float("nan")
    used = whole > 0
    return float(((power[used] ** 2).sum(1) / whole[used]).sum() / whole.sum())


def _first(view: View, p: int) -> Tensor | None:
    """One row a neuron, of blocks of one number a residue."""
    for module in view.setting.net.modules():
        if isinstance(module, nn.Embedding) and p <= module.num_embeddings <= p + _MOST_SPECIAL:
            return module.weight.detach()[:p].T
        if isinstance(module, DENSE):
            blocks = module.in_features % p == 0
            return module.weight.detach() if blocks else None
    return None


def _last(view: View, p: int) -> Tensor | None:
    head = view.setting.head
    if isinstance(head, DENSE) and head.out_features == p:
        return head.weight.detach().T
    return None
