"""The run of a scale-invariant net at another weight decay and scale, from a run that is done."""

import json
import math
from typing import Any

import jax
import jax.random as jr
import numpy as np
import xarray as xr

from .._core.errors import InputError, number_of
from .._core.precision import in_double
from ..dynamics.invariant_clock import InvariantClock
from ..experiments.experiment import Experiment, check_experiment
from ..models import measured_invariance
from ..models.wrappers.partly_decayed import partly_decayed
from ..records.described import check_record_of
from ..records.parameters import FINAL, KEPT, KEPT_TIME

# Inputs on which invariance is measured.
_INPUTS = 64


@in_double
def invariant_run(
    record: xr.Dataset,
    experiment: Experiment,
    *,
    weight_decay: float | None = None,
    init_scale: float | None = None,
    tolerance: float = 1e-6,
) -> xr.Dataset:
    r"""The record of a scale-invariant net at another decay and initial norm, without a solve.

    For a net with $f(c\theta; x) = f(\theta; x)$ for $c > 0$, weight decay and initial norm only
    change the speed of the flow, see [`InvariantClock`][lazyrich.dynamics.InvariantClock] and
    [normalised networks](../../explanation/normalised.md). One record thus contains the runs of all
    `weight_decay` and `init_scale`. A state at $\hat t$ is reached at $t$ with
    $\frac{e^{2\lambda t} - 1}{2\lambda\alpha^2} = \frac{e^{2\hat\lambda\hat t} -
    1}{2\hat\lambda\hat\alpha^2}$. The horizon follows from that of the record.

    - **Takes** the record of a gradient flow and its experiment; `weight_decay` and `init_scale`,
        by default those of the experiment; `tolerance`, the largest relative change of outputs
        when all parameters are doubled. Norms with an $\varepsilon$, as those of PyTorch, change
        outputs by about $\varepsilon$ over the variance of the layer.
    - **Returns** a record with mapped times, norms and parameters; without final parameters if the
        run ended early. Curves whose scaling is not known, such as own probes without a
        `scale_degree`, are left out. The attribute `mapped_from` names the run that was solved;
        `experiment_hash` is empty, because no run of this experiment was.
    - **Raises** [`InputError`][lazyrich.InputError] if the net is not scale-invariant on the
        training inputs, if decay leaves out some parameters, if the dynamics are not gradient
        flow, if the record is of another experiment, or if `init_scale` changes a run with own
        initial parameters.
    """
    check_experiment(experiment)
    check_record_of(record, experiment.content_hash)
    decay = experiment.weight_decay if weight_decay is None else weight_decay
    scale = experiment.init_scale if init_scale is None else init_scale
    decay, scale = number_of("weight_decay", decay), number_of("init_scale", scale, positive=True)
    _check_flow(experiment)
    _check_invariant(experiment, number_of("tolerance", tolerance))
    if record.attrs.get("own_params") and scale != experiment.init_scale:
        accepted = "does not scale initial parameters of your own; leave it out"
        raise InputError("init_scale", scale, accepted)
    before = InvariantClock(experiment.weight_decay, experiment.init_scale)
    after = InvariantClock(decay, scale)
    target = experiment.with_changes({"weight_decay": decay, "init_scale": scale})

    def mapped(times: Any) -> np.ndarray:
        found = after.time(before.intrinsic(times))
        if not np.all(np.isfinite(found[np.isfinite(times)])):
            accepted = "the norm has decayed by more than e^354; map an earlier part of the record"
            raise InputError("record", float(np.max(times)), accepted)
        return found

    def growth(times: Any) -> np.ndarray:
        """The norm of the mapped run over that of the record, at times of the record."""
        rates = before.weight_decay * np.asarray(times) - decay * mapped(times)
        return np.asarray(scale / experiment.init_scale * np.exp(rates))

    old = record["time"].values
    end = float(old[-1]) if len(old) else 0.0
    found = record.drop_vars(_unknown(record, experiment))
    for probe in experiment.probe_modules:
        if probe.name in found and probe.scale_degree:
            found[probe.name] = _times(record[probe.name], growth(old) ** probe.scale_degree)
    # The last state of a run that ended early, or of a part of a record, is of a later time.
    is_whole = record.attrs["ending"] == "completed" and math.isclose(end, experiment.t1)
    if FINAL in found and is_whole:
        found[FINAL] = _times(record[FINAL], growth(end))
    elif FINAL in found:
        found = found.drop_vars(FINAL)
    if KEPT in found:
        kept = record[KEPT_TIME].values
        found[KEPT] = _times(record[KEPT], growth(kept))
        found = found.assign_coords({KEPT_TIME: record[KEPT_TIME].copy(data=mapped(kept))})
    if "init_rms" in found:
        found["init_rms"] = _times(record["init_rms"], scale / experiment.init_scale)
    found = found.assign_coords(time=record["time"].copy(data=mapped(old)))
    # The horizon of a record that ends early may be too far to be mapped.
    reach = experiment.t1 if np.isfinite(before.intrinsic(experiment.t1)) else end
    changes: dict[str, Any] = {"t1": float(mapped(reach))}
    if experiment.times.at:
        times = np.array(experiment.times.at)
        changes["times.at"] = [float(t) for t in mapped(times[times <= reach])]
    source = {
        "experiment_hash": experiment.content_hash,
        "weight_decay": experiment.weight_decay,
        "init_scale": experiment.init_scale,
    }
    found.attrs = {
        **record.attrs,
        "experiment": target.with_changes(changes).description,
        "experiment_hash": "",
        "resolved_until": float(mapped(record.attrs["resolved_until"])),
        "mapped_from": json.dumps(source),
    }
    if "extended_at" in record.attrs:
        times = np.array(json.loads(record.attrs["extended_at"]))
        found.attrs["extended_at"] = json.dumps(mapped(times).tolist())
    return found


def _times(values: xr.DataArray, factor: Any) -> xr.DataArray:
    """Values times a factor along their first axis, with the same labels."""
    factor = np.asarray(factor)
    factor = factor.reshape(factor.shape + (1,) * (values.ndim - factor.ndim))
    return values.copy(data=values.values * factor)


def _unknown(record: xr.Dataset, experiment: Experiment) -> list[str]:
    """The variables over time whose values at another scale are not known."""
    known = {p.name for p in experiment.probe_modules if p.scale_degree is not None}
    of_time = [str(name) for name, values in record.data_vars.items() if "time" in values.dims]
    return [name for name in of_time if name not in known]


def _check_flow(experiment: Experiment) -> None:
    dynamics, kind = experiment.dynamics, type(experiment.dynamics).__name__
    if dynamics.as_flow() is None:
        accepted = "does not follow the gradient flow, for which the map is exact; use Flow"
        raise InputError("dynamics.kind", kind, accepted)
    if dynamics.in_log_time or dynamics.follows_closure:
        raise InputError("dynamics.kind", kind, "should be Flow in linear time, without closure")


def _check_invariant(experiment: Experiment, tolerance: float) -> None:
    model, key = experiment.model, jr.key(experiment.seed)
    kind = type(model).__name__
    x = experiment.task.sample_for(key, experiment.loss.takes).train.x
    params = model.init(jr.key(experiment.seed), x.shape[1])
    if model.has_origin or model.has_mobility or model.is_closed:
        accepted = "keeps initial parameters or moves statistics, so a scale of all is not free"
        raise InputError("model.kind", kind, accepted)
    if experiment.decayed == "matrices":
        model = partly_decayed(model, params)
    pairs = zip(*map(jax.tree.leaves, (params, model.decayed(params))), strict=True)
    if not model.decays_all or any(np.any(np.asarray(p) != np.asarray(q)) for p, q in pairs):
        accepted = "has parameters without weight decay, so norms do not shrink together"
        raise InputError("model.kind", kind, accepted)
    error = measured_invariance(model, params, model.cast_inputs(x[:_INPUTS]))
    if not error <= tolerance:
        accepted = (
            f"should be scale-invariant: outputs change by {error:.2g} of their size when all "
            f"parameters are doubled, more than {tolerance:g}"
        )
        raise InputError("model.kind", kind, accepted)
