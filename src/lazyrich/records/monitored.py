"""The variables that only a monitor of a training elsewhere records."""

MONITORED: tuple[tuple[str, tuple[str, ...], tuple[str, str], str], ...] = (
    (
        "flow_time",
        ("time",),
        (
            "sum of learning rates",
            "sum of the learning rates of all steps, for optimisers whose flow time is unknown",
        ),
        "1",
    ),
    (
        "learning_rate",
        ("time",),
        (
            "learning rate",
            "learning rate of most parameters, at the time of the record",
        ),
        "1",
    ),
    (
        "test_margin_ratio",
        ("time",),
        (
            "standardised test margin",
            "median of the test margins over their standard deviation; a margin is the output of "
            "the class minus the largest other output, or label times output",
        ),
        "1",
    ),
    (
        "drift_share",
        ("time",),
        (
            "part of the parameters that is not the decayed initialisation",
            r"$\lVert\theta - s\,\theta(0)\rVert_2 / \lVert\theta\rVert_2$ with $s$ "
            "what decay leaves",
        ),
        "1",
    ),
    (
        "softmax_saturation_own",
        ("time",),
        (
            "training samples with a saturated softmax, in the precision of the outputs",
            "the same as `softmax_saturation`, in the precision of the outputs",
        ),
        "1",
    ),
    (
        "arrival_residual",
        ("time",),
        (
            "relative residual of the balance of weight decay and loss",
            "mean of `block_arrival`, weighted by the number of parameters",
        ),
        "1",
    ),
    (
        "spectral_entropy",
        ("time",),
        (
            "entropy of the penultimate covariance",
            "entropy of the eigenvalues of the covariance of what the last linear map gets, in "
            "nats; its exponential is an effective number of directions",
        ),
        "nat",
    ),
    (
        "block_norm",
        ("time", "block"),
        (
            "norm of a block",
            "norm of each parameter tensor",
        ),
        "1",
    ),
    (
        "block_arrival",
        ("time", "block"),
        (
            "relative residual of the balance of a block",
            r"$\lVert\lambda W W^\top + G W^\top\rVert / (\lVert\lambda W W^\top\rVert + "
            r"\lVert G W^\top\rVert)$ for each matrix $W$ with weight decay: 0 where decay and "
            "loss balance, at most 1",
        ),
        "1",
    ),
    ("block", ("block",), ("block", "names of the parameter tensors"), "1"),
)
"""Name, dimensions, long name and meaning, and unit."""
