"""Keys of an experiment as figures name them."""

_SYMBOLS = {
    "init_scale": r"initial scale $\alpha$",
    "weight_decay": r"weight decay $\lambda$",
    "model.output_scale": r"output scale $\alpha_\mathrm{out}$",
    "model.epsilon": r"curvature $\epsilon$",
    "task.n": "training samples $P$",
    "task.k": "coordinates $k$",
    "task.gamma": r"separation $\gamma$",
    "task.random_labels": "random labels",
    "task.index": "eigenvector $j$",
}


def symbol(key: str) -> str:
    """A dotted key in words; those of a model inside another as the model's own."""
    found = key
    while found.startswith("model.model."):
        found = found.removeprefix("model.")
    return _SYMBOLS.get(found, key)
