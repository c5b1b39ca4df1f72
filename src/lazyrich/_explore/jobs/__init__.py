"""The jobs that the page can ask for, by name, and where each is computed."""

from dataclasses import dataclass
from typing import Literal

WorkerName = Literal["quick", "run"]


@dataclass(frozen=True)
class Job:
    """A function in a module of this package, and the process that calls it.

    - `worker`: `quick` for answers within a second, `run` for computations that stream. In `run`,
        a newer job of the same slot also ends the one that is running.
    - `module`, `function`: where it is. Named, not imported: the server imports no JAX.
    - `is_light`: whether it takes milliseconds. Light jobs have a thread of their own in the
        process, so that they do not wait while another job compiles.
    """

    worker: WorkerName
    module: str
    function: str
    is_light: bool = False


JOBS: dict[str, Job] = {
    "map.open": Job("quick", "map", "open_map"),
    "map.figure": Job("quick", "map", "draw_map"),
    "map.cell": Job("quick", "map_runs", "draw_cell"),
    "map.run": Job("quick", "map_runs", "draw_run"),
    "map.start": Job("run", "map_runs", "start_missing"),
    "inside.list": Job("quick", "inside", "list_runs"),
    "inside.frames": Job("quick", "inside", "frames"),
    "inside.record": Job("run", "inside", "record"),
    "tour.list": Job("quick", "tour", "list_stories", is_light=True),
    "tour.check": Job("quick", "tour", "check"),
    "lab.list": Job("quick", "lab", "list_experiments", is_light=True),
    "lab.describe": Job("quick", "lab", "describe", is_light=True),
    "lab.forecast": Job("quick", "lab", "forecast_experiment"),
    "lab.compare": Job("quick", "lab", "compare"),
    "lab.finished": Job("quick", "run", "finished", is_light=True),
    "lab.run": Job("run", "run", "run"),
    "lab.prepare": Job("run", "run", "prepare"),
    "save": Job("quick", "save", "save"),
    "save.text": Job("quick", "save", "save_text", is_light=True),
}

# Packages that a process imports before its first job, in the seconds that a user needs to choose.
PRELOADED = ["studies", "forecasts", "_run.simulate", "plot"]
