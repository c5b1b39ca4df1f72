"""The diagnosis: what it says of records whose answer is known."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr

torch.set_num_threads(1)


def record_of(**curves):
    """A record of 41 steps with weight decay 0.1 and learning rate 1, of these curves."""
    steps = np.arange(1, 401, 10)
    usual = {
        "train_loss": np.where(steps < 20, 1.0, 0.01),
        "test_loss": np.full(40, 2.0),
        "train_accuracy": np.where(steps < 20, 0.3, 1.0),
        "test_accuracy": np.full(40, 0.3),
        "param_norm": 10 * np.exp(-0.01 * steps),
        "kernel_distance": np.full(40, 2e-4),
        "flow_time": 0.1 * steps,
        **{name: values * np.ones(40) for name, values in curves.items()},
    }
    decay = usual.pop("weight_decay", np.array([0.1]))[0]
    found = lr.record(
        steps, usual, unit="step", weight_decay=float(decay), scales={"test_chance": 0.3},
        source="lazyrich.torch.Monitor", ending="running",
    )  # fmt: skip
    found.attrs["monitor"] = json.dumps({"num_train": [10, 10]})
    return found


def test_a_lazy_net_with_decay_should_wait():
    found = lr.torch.diagnose(record_of(arrival_residual=0.6))
    # ‖K̂ − K̂₀‖ = √(2 · 2e-4) = 2 %; the norm falls as e^(−λt) with λt = 0.1 · 0.1 a step.
    assert "Still lazy: the direction of the tangent kernel moved by 2 %" in found.text
    assert found.evidence["kernel_moved"] == pytest.approx(0.02)
    assert found.evidence["norm_rate_over_decay"] == pytest.approx(1.0)
    assert found.evidence["decay_time"] == pytest.approx(0.1 * 0.1 * 391)
    assert "The norm falls at 1 times the rate ηλ of weight decay." in found.text
    assert "Not arrived: 60 %" in found.text
    assert found.next_steps[0].startswith("wait: weight decay shrinks")
    assert not found.cannot_say
    assert str(found) == found.text
    assert "&lt;" not in found._repr_html_()


@pytest.mark.parametrize(
    ("curves", "says", "advice"),
    [
        ({"weight_decay": 0.0}, "There is no weight decay.", "add weight decay"),
        (
            {"kernel_distance": 0.3, "param_norm": 5.0, "arrival_residual": 0.01},
            "Arrived: loss and weight decay balance up to 1 %, and scores and norm have settled.",
            "a longer run changes little",
        ),
        (
            # Of a logarithm of time the rate is its factor.
            {"test_margin_ratio": -4 + 0.8 * np.log(np.arange(1, 401, 10) / 391)},
            "The standardised test margin rises: it is -4.00, and changes by 0.80 for each factor",
            "wait: weight decay shrinks",
        ),
        (
            {"test_margin_ratio": -4.0},
            "The standardised test margin hardly changes: it is -4.00, and changes by 0.00 for",
            "wait: weight decay shrinks",
        ),
        (
            {"kernel_distance": 0.02},
            "Between lazy and rich",
            "train on, and ask again later: the norm still changes",
        ),
        (
            {"kernel_distance": 0.02, "param_norm": 5.0, "arrival_residual": 0.6},
            "Scores and norm have settled, though 60 % of loss and weight decay do not balance",
            "scores and norm have settled",
        ),
        (
            {"kernel_distance": 0.3, "kernel_alignment_labels": np.linspace(0.1, 0.9, 40)},
            "alignment with the labels rose: 0.51 to 0.9",
            "wait: features still change",
        ),
        ({"softmax_saturation_own": 0.8}, "exactly 1 on 80 %", "compute the loss in float64"),
        ({"train_accuracy": 0.5}, "untrained", "until the training data are fitted"),
        (
            {"test_accuracy": np.where(np.arange(40) < 30, 0.3, 1.0)},
            "grokked",
            "it generalises: stop",
        ),
    ],
)
def test_each_finding_has_its_sentence_and_advice(curves, says, advice):
    found = lr.torch.diagnose(record_of(**curves))
    assert says in found.text
    assert any(line.startswith(advice) or advice in line for line in found.next_steps)


STEPS = np.arange(1, 401, 10)
NORMS = {"falls": 10 * np.exp(-0.01 * STEPS), "still": 5.0, "rises": np.exp(0.002 * STEPS)}
SCORES = {"settled": 0.3, "moving": np.linspace(0.3, 0.5, 40)}
RATES = {"on": 0.1, "over": 0.1 * (STEPS < 200), "nearly": np.where(STEPS < 200, 0.1, 1e-5)}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("residual", [0.01, 0.6])
@pytest.mark.parametrize("norm", NORMS)
def test_no_sentences_contradict_each_other(norm, residual, score, rate):
    found = lr.torch.diagnose(
        record_of(
            param_norm=NORMS[norm], arrival_residual=residual, test_accuracy=SCORES[score],
            learning_rate=RATES[rate], kernel_distance=0.05,
        )
    )  # fmt: skip
    text = found.text.lower()
    lines = [line for line in text.splitlines() if not line.startswith("next")]
    moves = [line for line in lines if "still change" in line or "the norm rises" in line]
    moves += [line for line in lines if "norm falls" in line or "still grow" in line]
    rests = [line for line in lines if "can move" in line]
    settled = [line for line in lines if "have settled" in line]
    assert len(moves) > 0 or len(rests) + len(settled) == 1
    assert not (moves and (rests or settled))
    assert not (rests and settled)
    assert ("up to 1 %" in text) == (residual < 0.05)
    assert ("60 % of loss and weight decay do not balance" in text) == (residual > 0.05)
    assert "the loss balances" not in text
    assert "the loss exceeds" not in text
    quiet = norm == "still" and score == "settled" and rate == "on"
    assert bool(settled) == quiet
    assert (lines[-1].startswith("arrived")) == (quiet and residual < 0.05)
    waits = any("wait" in line for line in found.next_steps)
    assert not (waits and (rests or settled))
    assert bool(rests) == (rate != "on")
    if norm == "rises":
        assert "the norm rose by" in text if rests else "the norm rises, by" in text
    assert "moving" not in text


def test_a_learning_rate_of_another_group_still_moves():
    record = record_of(learning_rate=0.0)
    assert "The learning rate is 0: nothing can move." in lr.torch.diagnose(record).text
    record.attrs["monitor"] = json.dumps({"learning_rates": [0.0, 0.1]})
    assert "can move" not in lr.torch.diagnose(record).text
    # After warm-up, as many steps again as until now do more than those until now.
    warm = record_of(learning_rate=np.minimum(1.0, STEPS / 300))
    assert "can move" not in lr.torch.diagnose(warm).text
    slow = lr.torch.diagnose(record_of(learning_rate=1 / STEPS))
    assert "can move" not in slow.text
    assert 0.05 < slow.evidence["learning_rate_over_mean"] < 0.2


def test_times_are_steps_also_where_the_record_has_flow_times():
    steps = np.arange(0, 410, 10)
    fits, changes = steps >= 20, steps >= 300
    record = lr.record(
        0.01 * steps,
        {
            "train_loss": np.where(fits, 0.01, 1.0), "test_loss": np.full(41, 2.0),
            "train_accuracy": np.where(fits, 1.0, 0.3),
            "test_accuracy": np.where(changes, 1.0, 0.3),
        },
        unit="time", steps=steps, weight_decay=0.1, scales={"test_chance": 0.3},
        source="lazyrich.torch.Monitor", ending="running",
    )  # fmt: skip
    record.attrs["monitor"] = "{}"
    first = lr.torch.diagnose(record).text.splitlines()[0]
    assert first.startswith("Step 400: grokked; fitted at step 20; test accuracy 0.3 to 1, ")
    assert ", half of the change at step " in first
    assert "t = " not in first
    t50 = lr.transition(record).t_change
    assert f"at step {round(100 * t50)}," in first


@pytest.mark.parametrize(
    ("angle", "says"),
    [
        (0.4996, "Between lazy and rich: the direction of the tangent kernel moved by 49.96 %"),
        (0.5004, "Rich: the direction of the tangent kernel moved by 50 %"),
        (0.09999, "Still lazy: the direction of the tangent kernel moved by 9.999 %"),
        (0.101, "Between lazy and rich: the direction of the tangent kernel moved by 10 %"),
    ],
)
def test_rounding_keeps_to_the_side_of_the_threshold(angle, says):
    assert says in lr.torch.diagnose(record_of(kernel_distance=angle**2 / 2)).text
    found = lr.torch.diagnose(record_of(arrival_residual=0.04999, param_norm=5.0)).text
    assert "Arrived: loss and weight decay balance up to 4.999 %" in found
    # The rate of decay times 0.6996.
    slow = lr.torch.diagnose(record_of(param_norm=np.exp(-0.006996 * STEPS))).text
    assert "The norm falls at 0.6996 times the rate" in slow or "0.7 times" not in slow


def test_a_part_of_the_kernel_that_samples_share_hides_no_motion():
    # K = c 11ᵀ + K', with c so large that K hardly turns while its centred part K' turns by 1.
    def moved(angle, centred):
        cosine = 1 - centred**2 / 2
        return lr.torch.diagnose(
            record_of(kernel_distance=angle**2 / 2, kernel_alignment_start=cosine)
        )

    found = moved(0.29, 0.82)
    assert (
        "Rich: the tangent kernel without the part that all samples share moved by 82 % since "
        "the start (with it, 29 %), so features are not those" in found.text
    )
    assert found.evidence["kernel_moved"] == pytest.approx(0.29)
    assert found.evidence["kernel_moved_centred"] == pytest.approx(0.82)
    assert "Between lazy and rich: the tangent kernel without" in moved(0.02, 0.3).text
    assert "Still lazy: the direction of the tangent kernel moved by 2 %" in moved(0.02, 0.05).text
    # Nothing is added where both say the same, or where the shared part moved more.
    for angle, centred in ((0.3, 0.4), (0.9, 0.7), (0.9, 0.2)):
        assert f"the direction of the tangent kernel moved by {100 * angle:.0f} %" in (
            moved(angle, centred).text
        )


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_rounding_is_not_called_rich(precision):
    # Samples that hardly differ: without their shared part, 1e-7 of the kernel is left.
    torch.manual_seed(0)
    x, y = (1 + 1e-4 * torch.randn(64, 8)).to(precision), torch.arange(64) % 2
    net = nn.Sequential(nn.Linear(8, 256), nn.Tanh(), nn.Linear(256, 2)).to(precision)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    monitor = lr.torch.Monitor(net, (x, y), (x, y), optimizer=optimizer, loss="cross_entropy")
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        monitor.step()
    assert "Still lazy: the direction of the tangent kernel moved by" in monitor.diagnosis().text
    assert "kernel_moved_centred" not in monitor.diagnosis().evidence
    # Samples that differ by 1 % have a part of 1e-4 or so, which float64 knows.
    far = 1 + 100 * (x - 1)
    other = lr.torch.Monitor(net, (far, y), (far, y), optimizer=optimizer, loss="cross_entropy")
    known = np.isfinite(other.record["kernel_alignment_start"].values[0])
    assert known == (precision == torch.float64)


def test_a_fit_that_is_lost_again_is_said():
    train = np.where(STEPS < 20, 0.3, 1.0)
    train[-1] = 0.967
    found = lr.torch.diagnose(record_of(train_accuracy=train))
    assert "The fit is lost again since step 391: training accuracy 0.967, test accuracy 0.3" in (
        found.text
    )
    assert "the fit does not hold" in found.next_steps[0]
    assert "lost" not in lr.torch.diagnose(record_of()).text


def test_a_loss_that_exploded_and_parameters_that_are_not_trained_are_said():
    record = record_of(train_loss=np.where(STEPS < 200, 1.0, 1e28), train_accuracy=0.3)
    record.attrs["monitor"] = json.dumps({"num_trained": 18, "num_params": 74})
    found = lr.torch.diagnose(record)
    assert "The training loss has exploded: it is 1e+28 times that of the start." in found.text
    assert found.next_steps == ("lower the learning rate, or clip gradients",)
    assert "The optimiser trains only 18 of 74 parameters." in found.text


def test_a_kernel_of_random_numbers_is_no_evidence():
    record = record_of(kernel_alignment_labels=0.5)
    record.attrs["monitor"] = json.dumps({"random": True})
    found = lr.torch.diagnose(record)
    assert "lazy" not in "".join(line for line in found.text.splitlines() if "Cannot" not in line)
    assert any("the net draws random numbers" in line for line in found.cannot_say)


def test_what_is_not_known_is_said():
    record = record_of().drop_vars(["kernel_distance"])
    record.attrs["monitor"] = json.dumps({"num_train": [10, 90]})
    found = lr.torch.diagnose(record)
    assert "Still lazy" not in found.text
    assert "balance" not in found.text
    words = "\n".join(found.cannot_say)
    assert "whether it is lazy or rich" in words
    assert "whether it has arrived" in words
    assert "the other 80 of 90 training samples" in words
    only = record.drop_vars(["test_loss", "test_accuracy", "train_accuracy"])
    assert any(line.startswith("whether it gen") for line in lr.torch.diagnose(only).cannot_say)


def test_after_the_first_record_there_is_already_a_diagnosis():
    x, y = torch.randn(9, 3), torch.arange(9) % 2
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    monitor = lr.torch.Monitor(net, (x, y), (x, y), optimizer=optimizer, loss="cross_entropy")
    found = monitor.diagnosis()
    assert "Step 0: " in found.text
    assert any("norm falls" in line for line in found.cannot_say)
    for _ in range(4):
        optimizer.step()
        monitor.step()
    assert "have settled" not in monitor.diagnosis().text
    assert "whether it has settled: there are too few steps" in monitor.diagnosis().cannot_say


def test_the_time_that_remains_has_a_sentence_in_steps():
    steps = np.arange(1, 401, 10)
    z = -2.1 + 2.2 * np.log(np.maximum(steps / 21, 1))  # as documented
    record = record_of(test_accuracy=0.01, test_margin_ratio=z)
    record = record.assign_attrs(monitor=json.dumps({"num_train": [10, 10], "num_test": [400] * 2}))
    record["test_chance"] = 0.05
    found = lr.torch.diagnose(record.isel(time=slice(0, 6)))
    half, level = (21 * np.exp((target + 2.1) / 2.2) for target in (0, 1.6449))
    assert found.evidence["step_half"] == pytest.approx(half, rel=1e-3)
    assert found.evidence["step_test"] == pytest.approx(level, rel=1e-3)
    assert f"pass 0.5 near step {half:.0f} (" in found.text
    assert f"0.95 near step {level:.0f} (" in found.text
    still = record_of(test_accuracy=0.01, test_margin_ratio=np.full(40, -1.6))
    assert "near step" not in lr.torch.diagnose(still).text
