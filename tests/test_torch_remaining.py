"""What the diagnosis of a PyTorch training and the time that remains say of the same record."""

import json
import math

import numpy as np
import pytest

import lazyrich as lr
from tests.test_remaining import FIT, STEPS, growing, record, until


def test_the_diagnosis_of_a_training_names_the_step_that_this_forecast_names():
    # At step 700 the accuracy is 0.6, which counts as generalising, and the level is 0.95.
    whole = until(record(growing()), 700)
    found, said = lr.remaining(whole), lr.torch.diagnose(whole)
    assert found.t_test > found.now
    (advice,) = [line for line in said.next_steps if "generalises" in line]
    assert f"train to step {found.t_test_interval[1]:,.0f}" in advice
    assert lr.torch.diagnose(record(growing())).next_steps[0].startswith("it generalises: stop")


def test_a_rate_that_has_nearly_ended_has_no_forecast_and_neither_has_the_diagnosis():
    whole = until(record(growing()), 300)
    assert lr.remaining(whole).t_test > 300
    rates = np.ones(whole.sizes["time"])
    rates[-3:] = 1e-3
    ended = whole.assign(learning_rate=("time", rates))
    found = lr.remaining(ended)
    assert (found.verdict, found.advice[:5]) == ("cannot_say", "Raise")
    assert math.isnan(found.t_test)
    assert "0.95" not in str(lr.torch.diagnose(ended))


@pytest.mark.parametrize("turn", [150, 250, 300, 350])
@pytest.mark.parametrize("before", [-1.5, 0.0, 1.5])
def test_all_that_is_said_of_growing_margins_has_one_criterion(before, turn):
    # z falls, stands still or rises up to a step, then rises or falls: asked at step 400 the rate
    # of the last factor of 1.5 counts, whatever the change since step 200.
    log = np.log(np.maximum(STEPS, FIT) / turn)
    for after in (1.5, 0.0, -1.5):
        z = -4.5 + np.where(log < 0, before, after) * log
        asked = until(record(z), 400)
        found, said = lr.remaining(asked), lr.torch.diagnose(asked)
        grows = "test margin rises" in said.text
        assert grows == (not math.isnan(found.t_test))
        assert grows == (said.evidence["test_margin_rate"] > 0.4)
        for words in ("margins grow", "still grow", "go on growing"):
            assert grows or words not in said.text
        assert "margin hardly changes" not in said.text or before * after == 0


@pytest.mark.parametrize(("optimizer", "served"), [("AdamW", True), ("SGD", True), ("Lion", False)])
def test_a_diagnosis_without_a_verdict_names_pilots_if_they_serve_the_optimiser(optimizer, served):
    def named(whole):
        about = json.loads(whole.attrs["monitor"]) | {"optimizer": optimizer}
        return lr.torch.diagnose(whole.assign_attrs(monitor=json.dumps(about))).next_steps

    early = until(record(growing()), 150)
    assert lr.remaining(early).verdict == "cannot_say"
    steps = named(early)
    assert ('monitor.forecast(passage="pilot", steps=N)' in steps[0]) == served
    assert steps[-1].startswith("or train to step" if served else "train to step")
    assert "only if it generalises at all" in steps[-1]
    # With margins that stand still there is no step.
    still = named(until(record(np.full(len(STEPS), -4.0)), 400))
    assert ("pilots" in still[0]) == served
    # With a verdict nothing is asked of pilots.
    sure = named(until(record(growing()), 350))
    assert not any("pilot" in line for line in sure)


def test_a_diagnosis_with_a_time_to_come_does_not_call_the_scores_settled():
    # The accuracy is nearly zero while the margins grow.
    found = lr.torch.diagnose(until(record(growing(-4.5), decay=1.0, flow=0.01 * STEPS), 400))
    assert "test margins still grow" in found.text
    assert "have settled" not in found.text
    assert found.next_steps[0].startswith("train to step")
