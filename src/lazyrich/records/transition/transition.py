"""Crossings, plateau and change of the scores, computed from the curves of a record."""

import dataclasses
import math

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from ..._core.errors import InputError
from ..described import check_record
from .arrival import has_arrived
from .change import ROUNDING, Change, outcome_of
from .crossing import NEVER, change_times, is_bound, sustained_crossing
from .events import ERRORS, Transition, unknown_transition
from .excursion import excursion_of
from .plateau import plateau_of
from .scales import scales_of_record
from .scores import (
    Curves,
    Scales,
    ceiling_of,
    chance_of,
    curves_of_record,
    score_of,
    scored_by,
    standard_error,
)
from .settled import decays_to_nothing, has_settled
from .thresholds import Thresholds, thresholds_of
from .words import FITTED, Outcome, is_broken, state_of

# For R2, the misfit of a stricter fit is this many times smaller.
_MISFIT = 10.0
# A fit is lost if more than this fraction of the distance to a constant output is lost.
_COLLAPSED = 0.5


def transition(record: xr.Dataset, thresholds: Thresholds | None = None) -> Transition:
    r"""When a run fitted its training data, when it generalised, and how it ended.

    The score is the accuracy; for labels that are real numbers, $R^2$: one minus the loss over the
    labels' variance. The kernel plateau is the first half, in log time, of the interval between
    the fit of the training data and half of the later change of the test score; early
    values are medians over it. Crossings are interpolated linearly in log time. A crossing before
    the first record after time 0 has the time of that record.

    - **Takes** a record, of a run or of a log, with accuracies or losses of training and test
        data; `thresholds`, by default those in the record, or the default ones if it has none.
    - **Raises** [`InputError`][lazyrich.InputError] for a record without these curves.
    - **Source** delays between two thresholds and k = 3 sustained evaluations as in Power et al.
        2022 and later papers; 10/50/90 % times of the test change as in Lyu et al. 2024.
    """
    check_record(record)
    curves = curves_of_record(record)
    thresholds = thresholds_of(record, thresholds)
    scales = scales_of_record(record)
    by_accuracy = scored_by(curves, scales) == "accuracy"
    needed = ["train_accuracy", "test_accuracy"] if by_accuracy else ["train_loss", "test_loss"]
    if thresholds.loss is not None:
        needed += ["train_loss", "test_loss"]
    for name in needed:
        if name not in curves:
            accepted = f"should be recorded: add {name} to the experiment's probes"
            if "source" in record.attrs:
                accepted = "should be among the logged curves; for the losses to be judged, leave "
                accepted += "out accuracies that have no partner"
            raise InputError("record", name, accepted)
    ending = str(record.attrs.get("ending", "completed"))
    found = read_off(record["time"].values, curves, ending, thresholds, scales)
    units = str(record["time"].attrs.get("units", "1"))
    unit = units if units in ("step", "epoch") else "t"
    return dataclasses.replace(found, unit=unit, logged="source" in record.attrs)


def read_off(
    times: Float[np.ndarray, " t"],
    curves: Curves,
    ending: str,
    thresholds: Thresholds = Thresholds(),
    scales: Scales = Scales(),
) -> Transition:
    """The same from arrays: `curves` keyed by the names of probes, and how the solve ended."""
    if len(times) == 0:
        return unknown_transition("failed" if is_broken(ending) else "untrained", ending)
    found = _judged(times, curves, ending, thresholds, scales)
    if found.outcome in ("failed", "unscored"):
        return found
    found = _with_excursion(found, times, score_of(curves, "test", scales), thresholds)
    key, value = _stricter(found, thresholds)
    if found.outcome not in FITTED or not key:
        return found
    strictly = thresholds.model_copy(update={key: value})
    other = _judged(times, curves, ending, strictly, scales)
    is_known = other.outcome in FITTED and not other.is_within_error
    return dataclasses.replace(
        found,
        stricter_fit=f"{key}={value:.6g}",
        outcome_by_stricter_fit=other.outcome if is_known else None,
    )


def _stricter(found: Transition, thresholds: Thresholds) -> tuple[str, float]:
    """A threshold at which a fit is stricter; empty if the user chose a loss, or by accuracy only.

    A linear approximation fits its slowest directions last. Their part in R2 is small, their part
    in the time of the fit is not."""
    if thresholds.loss is not None:
        return "", math.nan
    if found.scored_by != "accuracy":
        return "train", 1 - (1 - thresholds.train) / _MISFIT
    return "train_loss" if thresholds.train_loss > 0 else "", 1 - (1 - thresholds.train_loss) / 2


def _with_excursion(
    found: Transition,
    times: Float[np.ndarray, " t"],
    test: Float[np.ndarray, " t"],
    thresholds: Thresholds,
) -> Transition:
    """The same with the excursion of the test score, where there is one."""
    late = found.final_score
    early = late if math.isnan(found.plateau_score) else found.plateau_score
    start = int(np.searchsorted(times, found.plateau[0]))  # the end if there is no plateau
    errors = [standard_error(found.scored_by, score, found.num_test) for score in (early, late)]
    excursion = excursion_of(
        times,
        np.fmax(test, found.chance),
        early=float(np.fmax(early, found.chance)),
        late=float(np.fmax(late, found.chance)),
        start=start,
        sustained=thresholds.sustained,
        least=max(thresholds.change - ROUNDING, np.nan_to_num(ERRORS * math.hypot(*errors))),
    )
    return dataclasses.replace(
        found,
        excursion=excursion.size,
        excursion_score=excursion.score,
        excursion_times=excursion.times,
    )


def _judged(
    times: Float[np.ndarray, " t"],
    curves: Curves,
    ending: str,
    thresholds: Thresholds,
    scales: Scales,
) -> Transition:
    """Times, scores and outcome of a record that is not empty."""
    by = scored_by(curves, scales)
    test, train = (score_of(curves, part, scales) for part in ("test", "train"))
    k = thresholds.sustained
    t_train, t_train_first, lost = _fit(times, curves, train, thresholds, scales)
    fitted = lost <= 0
    reached, level = _target(curves, "test", test, thresholds)
    t_test, t_test_first = sustained_crossing(times, reached, level, k)
    vanishes = not fitted and decays_to_nothing(
        times, curves, scales.weight_decay, scales.blank_loss
    )
    settled = has_settled(
        times,
        (test, train),
        curves,
        scales.weight_decay,
        rate=thresholds.settled,
        fitted=fitted,
        free=vanishes or bool(scales.weight_decay == 0 and by == "accuracy" and fitted),
    )
    final = float(np.median(test[-k:]))
    found = dataclasses.replace(
        unknown_transition("unchanged", ending),
        t_train=t_train,
        t_train_first=t_train_first,
        t_test=t_test,
        t_test_first=t_test_first,
        final_score=final,
        train_score=float(np.median(train[-k:])),
        ceiling=ceiling_of(by, scales),
        chance=chance_of(by, scales),
        num_test=scales.num_test,
        standard_error=standard_error(by, final, scales.num_test),
        settled=settled and not is_broken(ending),
        # Near zero parameters there is nothing to balance.
        arrived=None
        if vanishes
        else has_arrived(curves, settled=state_of(ending, settled) == "settled", sustained=k),
        t_train_is_bound=is_bound(times, t_train),
        scored_by=by,
    )
    # Labels that do not vary can be fitted only in terms of a given loss.
    unscored = np.isnan(test).all() or (np.isnan(train).all() and thresholds.loss is None)
    # If all test labels are the same, a constant output is right on every sample.
    unscored = unscored or found.chance == 1
    fixed_outcome: Outcome | None = None
    if is_broken(ending):
        fixed_outcome = "failed"
    elif unscored:
        fixed_outcome = "unscored"
    elif np.isnan(t_train):
        fixed_outcome = "untrained"
    elif lost > _COLLAPSED:
        fixed_outcome = "collapsed"
    if np.isnan(t_train) or unscored:
        assert fixed_outcome is not None
        return dataclasses.replace(found, outcome=fixed_outcome)
    at_level = reached[-k:] >= level
    result = _with_change(found, fixed_outcome, times, test, curves, at_level, thresholds)
    gone = thresholds.train - result.train_score
    if result.outcome == "misgrokked" and not fitted and gone >= thresholds.change - ROUNDING:
        # The test score is lost together with the fit, so nothing else was learned.
        return dataclasses.replace(result, outcome="collapsed")
    return result


def _with_change(
    found: Transition,
    fixed_outcome: Outcome | None,
    times: Float[np.ndarray, " t"],
    test: Float[np.ndarray, " t"],
    curves: Curves,
    at_level: Bool[np.ndarray, " k"],
    thresholds: Thresholds,
) -> Transition:
    """Plateau, change and outcome of a run that fitted its training data."""
    unknown = np.full(len(times), np.nan)  # a log can lack losses
    train_loss = np.asarray(curves.get("train_loss", unknown), dtype=float)
    plateau, moves = plateau_of(
        times, test, train_loss, found.t_train, found.final_score, thresholds
    )
    early, late = float(np.median(test[plateau])), found.final_score
    after = times >= times[plateau][0]
    loss = np.asarray(curves.get("test_loss", unknown), dtype=float)
    loss_early = float(np.median(loss[plateau]))
    by_loss = thresholds.loss is not None and loss_early > 0
    change = Change(
        early,
        late,
        found.t_train,
        gone=1 - float(loss[-1]) / loss_early if by_loss else math.nan,
        ceiling=found.ceiling,
        chance=found.chance,
        reaches=bool(np.all(at_level)),
    )
    least = thresholds.change - ROUNDING
    moved = abs(late - early) >= least
    t10, t50, t90 = change_times(times[after], test[after], early, late) if moved else NEVER
    t50_sustained = t_change = math.nan
    if moved:
        done = (test - early) / (late - early)
        t50_sustained = sustained_crossing(times[after], done[after], 0.5, thresholds.sustained)[0]
    if by_loss and change.reaches:
        t_change = max(found.t_test, found.t_train)
    elif abs(change.size) >= least:
        done = np.array([change.above_chance(score) for score in test[after]])
        done = (done - change.above_chance(early)) / change.size
        t_change = sustained_crossing(times[after], done, 0.5, thresholds.sustained)[0]
    elif change.rise >= least:
        t_change = t50_sustained  # for an R2 that is always below chance
    change = dataclasses.replace(change, t_change=t_change)
    t10_loss, t50_loss, t90_loss = _loss_times(times[after], loss[after]) if moved else NEVER
    return dataclasses.replace(
        found,
        outcome=outcome_of(change, thresholds) if fixed_outcome is None else fixed_outcome,
        t10=t10,
        t50=t50,
        t90=t90,
        t50_sustained=t50_sustained,
        t10_loss=t10_loss,
        t50_loss=t50_loss,
        t90_loss=t90_loss,
        t_change=t_change,
        delay_ratio=change.delay_ratio,
        delay_difference=t_change - found.t_train,
        plateau=(float(times[plateau][0]), float(times[plateau][-1])),
        plateau_score=early,
        moves_with_fit=moves and not math.isnan(t_change) and found.scored_by != "accuracy",
    )


def _fit(
    times: Float[np.ndarray, " t"],
    curves: Curves,
    score: Float[np.ndarray, " t"],
    thresholds: Thresholds,
    scales: Scales,
) -> tuple[float, float, float]:
    """When training data were fitted for good, when first, and the lost fraction of the fit.

    The fraction is for the end of the run. It is at most 0 if the fit is kept, and 1 for a constant
    output."""
    by = scored_by(curves, scales)
    loss = curves.get("train_loss")
    first = math.nan if loss is None else float(loss[0])
    blank = float(first if math.isnan(scales.blank_loss) else scales.blank_loss)
    curve, level = _target(curves, "train", score, thresholds)
    chance = chance_of(by, scales)
    constant = -blank if thresholds.loss is not None else (0.0 if math.isnan(chance) else chance)
    targets = [(curve, level, constant)]
    # A log that begins after the fit has no loss of zero outputs to compare with.
    late = math.isnan(scales.blank_loss) and times[0] > 0 and curve[0] >= level
    too = thresholds.train_loss > 0 and thresholds.loss is None and not late
    if by == "accuracy" and too and loss is not None:
        loss = np.asarray(loss)
        targets.append((-loss, -(1 - thresholds.train_loss) * blank, -blank))
    k = thresholds.sustained
    found = [sustained_crossing(times, curve, level, k) for curve, level, _ in targets]
    held, first_crossing = (float(np.max(each)) for each in zip(*found, strict=True))  # keeps NaN
    return held, first_crossing, max(_lost(curve[-k:], level, end) for curve, level, end in targets)


def _lost(curve: Float[np.ndarray, " k"], level: float, constant: float) -> float:
    """The final distance of a curve below a level, over that of a constant output."""
    below = level - float(np.median(curve))
    if below <= 0 or level <= constant:
        return 0.0 if below <= 0 else math.inf
    return below / (level - constant)


def _target(
    curves: Curves, part: str, score: Float[np.ndarray, " t"], thresholds: Thresholds
) -> tuple[Float[np.ndarray, " t"], float]:
    """The curve that should rise to a level, and the level."""
    if thresholds.loss is not None:
        return -np.asarray(curves[f"{part}_loss"]), -thresholds.loss
    return score, thresholds.train if part == "train" else thresholds.test


def _loss_times(
    times: Float[np.ndarray, " t"], loss: Float[np.ndarray, " t"]
) -> tuple[float, float, float]:
    """The same for a loss, from its extremum on, since it may still improve on the plateau."""
    turn = int(np.argmin(loss) if loss[-1] > loss[0] else np.argmax(loss))
    return change_times(times[turn:], loss[turn:], float(loss[turn]), float(loss[-1]))
