"""A pilot: the experiment at a higher learning rate, in fewer steps."""

from dataclasses import dataclass, replace

from .._run.prepared import PreparedProblem
from .._run.solve import solve_batch
from ..dynamics import AbstractDynamics
from ..records.summary import early_and_late
from ..records.transition import Thresholds, Transition, scales_of_record
from .course import Course
from .verdict import Verdict, verdict_of

# What decides the transition.
_PROBES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm")
# Training scores of two pilots without a fit that differ by less than this are the same.
_SAME = 0.05


@dataclass(frozen=True)
class Pilot:
    """A run at `factor` times the learning rate, up to the same time.

    - `course`, its losses and accuracies; `events`, its transition; `early` and `late`, the values
        on the plateau and at the end; `grain`, the change of the test score by one test sample.
    """

    factor: int
    course: Course
    events: Transition
    early: dict[str, float]
    late: dict[str, float]
    grain: float
    num_steps: int = 0
    num_gradients: int = 0

    @classmethod
    def of(
        cls,
        factor: int,
        course: Course,
        ending: str,
        thresholds: Thresholds,
        num_tests: int,
        unit: str = "t",
    ) -> "Pilot":
        """A pilot by its curves, and how its solve ended; `num_tests`, of test samples.

        - **Takes** `unit`, of the times of `course`: `t`, or `step` for steps of the run.
        """
        events = replace(course.events(thresholds, ending), unit=unit)
        states = early_and_late(course.times, course.curves, events)
        grain = 1 / num_tests if events.scored_by == "accuracy" else 0.0
        return cls(factor, course, events, states["early"], states["late"], grain)

    @property
    def verdict(self) -> Verdict:
        """The verdict on a run with this transition."""
        return verdict_of(self.events)

    @property
    def is_stable(self) -> bool:
        """Whether it fits the training data and keeps the fit."""
        return self.events.outcome not in ("failed", "untrained", "collapsed")

    def is_like(self, other: "Pilot") -> bool:
        """Whether both end without a fit, with about the same training score."""
        ends = {self.events.outcome, other.events.outcome}
        gap = abs(self.events.train_score - other.events.train_score)
        return ends in ({"untrained"}, {"collapsed"}) and gap < _SAME

    @property
    def says(self) -> str:
        """Its outcome, in a few words."""
        return f"{self.events.outcome} ({self.events.says})"


def run_pilot(
    prepared: PreparedProblem, dynamics: AbstractDynamics, factor: int, thresholds: Thresholds
) -> Pilot:
    """Runs a prepared problem by `dynamics`, its own at `factor` times the learning rate."""
    experiment = prepared.experiment
    changed = experiment.model_copy(update={"dynamics": dynamics, "probes": _PROBES})
    result = solve_batch([PreparedProblem(changed, prepared.problem, prepared.data)])
    course = Course(result.recorded(0), result.curves(0), scales_of_record(result.record(0)))
    effort, num_tests = result.efforts[0], len(prepared.data.test.y)
    pilot = Pilot.of(factor, course, result.endings[0], thresholds, num_tests)
    return replace(pilot, num_steps=effort.num_steps, num_gradients=effort.num_gradients)
