"""Runs for MLflow."""

import time
from typing import Any, ClassVar

from ._base import AbstractTracker, Value, split

# The largest numbers of parameters and of metrics in one call, and letters of a parameter and a
# tag, that every store of MLflow accepts.
_MOST_PARAMS, _MOST_METRICS, _MOST_LETTERS = 100, 1000, 500


class MLflow(AbstractTracker):
    """Writes runs to the tracking store of MLflow.

    Requires `mlflow`, or `mlflow-skinny` for a server or a folder; see
    [`AbstractTracker`][lazyrich.trackers.AbstractTracker] for what is written. Words of the
    summary become tags.

    - **Takes** `uri` of the store, such as `sqlite:///mlflow.db`; by default that to which MLflow
        is set. `experiment`, the name of an experiment of MLflow, which is made if it does not
        exist.
    - **Raises** [`ComputationError`][lazyrich.ComputationError] if MLflow is not installed.
    """

    package: ClassVar = "mlflow"
    module: ClassVar = "mlflow"
    settings: ClassVar = {"MLFLOW_DISABLE_TELEMETRY": "true"}

    def __init__(self, uri: str | None = None, experiment: str = "lazyrich"):
        super().__init__()
        self.uri, self.experiment = uri, experiment

    def _begin(self, library: Any, name: str, config: dict[str, Value]) -> Any:
        client = library.MlflowClient(tracking_uri=self.uri)
        found = client.get_experiment_by_name(self.experiment)
        place = client.create_experiment(self.experiment) if found is None else found.experiment_id
        run = client.create_run(place, run_name=name).info.run_id
        params = [
            library.entities.Param(key, str(value)[:_MOST_LETTERS]) for key, value in config.items()
        ]
        for start in range(0, len(params), _MOST_PARAMS):
            client.log_batch(run, params=params[start : start + _MOST_PARAMS])
        return library, client, run

    def _write(self, run: Any, steps: list[int], rows: list[dict[str, float]]) -> None:
        library, client, key = run
        now = int(1000 * time.time())
        metrics = [
            library.entities.Metric(name, value, now, step)
            for step, row in zip(steps, rows, strict=True)
            for name, value in row.items()
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(key, metrics=metrics[start : start + _MOST_METRICS])

    def _end(self, run: Any, summary: dict[str, Value], *, broken: bool) -> None:
        library, client, key = run
        numbers, words = split(summary)
        self._write(run, [0], [numbers])
        tags = [library.entities.RunTag(name, v[:_MOST_LETTERS]) for name, v in words.items()]
        client.log_batch(key, tags=tags)
        status = "FAILED" if broken else "FINISHED"
        if str(summary.get("ending", "")).startswith("KeyboardInterrupt"):
            status = "KILLED"
        client.set_terminated(key, status)
