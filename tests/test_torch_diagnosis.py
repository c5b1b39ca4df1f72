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
            "Arrived: loss and weight decay balance up to 1 %.",
            "a longer run changes little",
        ),
        ({"kernel_distance": 0.02, "param_norm": 5.0}, "Leaving the lazy regime", "wait until the"),
        (
            {"kernel_distance": 0.3, "kernel_alignment_labels": np.linspace(0.1, 0.9, 40)},
            "alignment with the labels rises: 0.51 to 0.9",
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


def test_what_is_not_known_is_said():
    record = record_of().drop_vars(["kernel_distance"])
    record.attrs["monitor"] = json.dumps({"num_train": [10, 90]})
    found = lr.torch.diagnose(record)
    assert "Still lazy" not in found.text
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
