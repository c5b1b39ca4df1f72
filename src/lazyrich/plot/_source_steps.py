"""The steps that the gradient descent of a source takes for the time of a run."""

from ..experiments.published import Published


def steps_of_source(published: Published | None, t1: float) -> dict[str, float] | None:
    """The time of a step in the source, `step`, and the steps to `t1`, `num`.

    None if the source has no curves, or curves over another axis than steps.
    """
    if published is None or "time_per_step" not in published.model_fields_set:
        return None
    step = published.time_per_step
    return {"step": step, "num": float(round(t1 / step))}
