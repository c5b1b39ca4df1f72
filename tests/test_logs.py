"""Logs of other programs: whoever wrote them, outcome and times are those of the curves."""

import contextlib
import csv
import json
import struct
import tomllib
import warnings
import zlib
from statistics import NormalDist

import numpy as np
import pytest

import lazyrich as lr
from lazyrich.records.logs.crc32c import masked_crc32c
from lazyrich.records.transition import MEANINGS, advice_on
from tests.helpers import call_command, small_experiment

JUDGED = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
# A run that fits at step 200 and generalises at step 8000. Nobody measured these: they are made up.
STEPS = np.arange(0, 10_001, 50)
RUN = {
    "train_loss": np.where(STEPS >= 200, 0.01, 2.0),
    "test_loss": np.where(STEPS >= 8000, 0.05, 3.0),
    "train_accuracy": np.where(STEPS >= 200, 1.0, 0.125),
    "test_accuracy": np.where(STEPS >= 8000, 1.0, 0.125),
}


def outcome_and_times(record):
    events = lr.transition(record)
    return events.outcome, events.numbers()


def assert_same(logged, ours, rtol):
    outcome, numbers = outcome_and_times(logged)
    theirs, expected = outcome_and_times(ours)
    assert outcome == theirs
    for name, value in expected.items():
        np.testing.assert_allclose(numbers[name], value, rtol=rtol, atol=rtol, err_msg=name)


# Writers that know nothing of lazyrich: steps and curves, in the form of some program.


def as_csv(folder, steps, curves):
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *curves])
        writer.writerows(zip(steps.tolist(), *(c.tolist() for c in curves.values()), strict=True))
    return folder / "log.csv"


def as_savetxt(folder, steps, curves):
    columns = np.stack([steps, *curves.values()], axis=1)
    np.savetxt(folder / "log.txt", columns, header=" ".join(["step", *curves]))
    return folder / "log.txt"


def as_lines(folder, steps, curves):
    """Training and test values in lines of their own, nested, as trainers write them."""
    with (folder / "log.jsonl").open("w") as file:
        for i, step in enumerate(steps.tolist()):
            for part in ("train", "test"):
                row = {k.split("_")[1]: float(c[i]) for k, c in curves.items() if part in k}
                print(json.dumps({"step": step, "epoch": step / 100, part: row}), file=file)
    return folder / "log.jsonl"


def as_trainer_state(folder, steps, curves):
    rows = []
    for i, step in enumerate(steps.tolist()):
        for part, before in (("train", ""), ("test", "eval_")):
            row = {
                f"{before}{k.split('_')[1]}": float(c[i]) for k, c in curves.items() if part in k
            }
            rows.append({"step": step, "epoch": step / 100, **row})
    rows.append({"step": int(steps[-1]), "train_loss": 0.5, "train_runtime": 12.5})
    content = {"best_metric": None, "log_history": rows, "max_steps": 7}
    (folder / "trainer_state.json").write_text(json.dumps(content, indent=2))
    return folder / "trainer_state.json"


def as_history(folder, steps, curves):
    """As `json.dump(history.history)` of Keras, with the steps."""
    usual = {"train_loss": "loss", "test_loss": "val_loss", "train_accuracy": "accuracy",
             "test_accuracy": "val_accuracy"}  # fmt: skip
    content = {"step": steps.tolist()} | {usual[k]: c.tolist() for k, c in curves.items()}
    (folder / "history.json").write_text(json.dumps(content))
    return folder / "history.json"


def as_events(folder, steps, curves):
    library = pytest.importorskip("tensorboardX")
    writer = library.SummaryWriter(logdir=str(folder / "run"))
    for i, step in enumerate(steps.tolist()):
        for name, curve in curves.items():
            part, measure = name.split("_")
            writer.add_scalar(f"{measure.title()}/{part}", float(curve[i]), step)
    writer.add_text("note", "what is no curve", 0)
    writer.add_histogram("weights", np.arange(10.0), 0)
    writer.close()
    return folder / "run"


def as_export(folder, steps, curves):
    """As the page of Weights & Biases exports a chart: quoted, with the range of every metric."""
    with (folder / "wandb_export.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        names = [f"soft-sun-7 - {k.replace('_', '/')}" for k in curves]
        writer.writerow(["Step", *(n + s for n in names for s in ("", "__MIN", "__MAX"))])
        for i, step in enumerate(steps.tolist()):
            writer.writerow([step, *(float(c[i]) for c in curves.values() for _ in range(3))])
    return folder / "wandb_export.csv"


def as_exports(folder, steps, curves):
    """The same, one file for each chart."""
    paths = []
    for number, (name, curve) in enumerate(curves.items()):
        paths.append(folder / f"wandb_export ({number}).csv")
        metric = f"soft-sun-7 - {name.replace('_', '/')}"
        head = f'"Step","{metric}","{metric}__MIN","{metric}__MAX"'
        rows = [f'"{s}","{v}","{v}","{v}"' for s, v in zip(steps, curve.tolist(), strict=True)]
        paths[-1].write_text("\n".join([head, *rows]))
    return paths


WRITERS = (as_csv, as_savetxt, as_lines, as_trainer_state, as_history, as_events, as_export,
           as_exports)  # fmt: skip
# Event files hold curves in single precision, and `savetxt` writes 19 digits.
PRECISION = {as_events: 1e-5}


def in_single(curves):
    return {name: np.float32(curve).astype(float) for name, curve in curves.items()}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_kind_of_file_gives_the_same(write, tmp_path):
    log = lr.records.read_log(write(tmp_path, STEPS, RUN))
    ours = lr.record(STEPS, RUN, unit="step")
    np.testing.assert_array_equal(log.record["time"], STEPS)
    for name in JUDGED:
        expected = in_single(RUN)[name] if write is as_events else RUN[name]
        np.testing.assert_array_equal(log.record[name], expected, err_msg=name)
    assert_same(log.record, ours, PRECISION.get(write, 0))
    events = lr.transition(log.record)
    assert events.outcome == "grokked"
    assert 150 < events.t_train <= 200
    assert 7950 < events.t_test <= 8000


@pytest.mark.slow
@pytest.mark.parametrize("descends", [False, True], ids=["flow", "descent"])
def test_a_run_of_ours_is_judged_alike_from_its_log(descends, tmp_path):
    """The curves of a real run, written by each writer, with the times of the run."""
    rate = 0.05
    dynamics = lr.dynamics.GradientDescent(learning_rate=rate) if descends else lr.dynamics.Flow()
    short = {"init_scale": 3.0, "weight_decay": 2e-2, "t1": 600.0}
    experiment = small_experiment(
        task=lr.tasks.SparseClassification(n=40, d=100, num_test=300), dynamics=dynamics, **short
    )
    record = lr.simulate(experiment)
    ours = record[[*JUDGED, "blank_loss", "test_chance"]]
    curves = {name: record[name].values for name in JUDGED}
    steps = record["time"].values / rate
    if descends:
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        steps = np.rint(steps).astype(int)
    known = {name: float(record[name]) for name in ("blank_loss", "test_chance")}
    for write in WRITERS:
        if write is as_events and not descends:
            continue  # whose steps are whole numbers
        folder = tmp_path / write.__name__
        folder.mkdir()
        log = lr.records.read_log(
            write(folder, steps, curves), time_per_step=rate, weight_decay=2e-2, scales=known
        )
        assert_same(log.record, ours, PRECISION.get(write, 1e-9))
    assert lr.transition(record).outcome == lr.transition(log.record).outcome
    assert lr.transition(record).outcome != "untrained"


@pytest.mark.slow
def test_files_of_weights_and_biases_are_read_where_they_are(tmp_path):
    wandb = pytest.importorskip("wandb")
    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
    run = wandb.init(project="p", dir=str(tmp_path), mode="offline", settings=quiet)
    for i, step in enumerate(STEPS.tolist()):
        row = {name.replace("_", "/"): float(curve[i]) for name, curve in RUN.items()}
        run.log({**row, "trainer/global_step": step, "note": "words", "nested": {"a": 1.0}})
    run.finish()
    (path,) = tmp_path.rglob("*.wandb")
    log = lr.records.read_log(path)
    assert_same(log.record, lr.record(STEPS, RUN, unit="step"), 0)
    assert log.columns["step"] == "trainer/global_step"


# Odd logs, and what is right for each: how a text is written, then the columns that are taken, the
# steps of the record, or the message; and a part of a note.
HEAD = "step,train_acc,test_acc"
OK = [(1, 0.5, 0.5), (2, 1.0, 0.5), (3, 1.0, 1.0)]


def rows(head, table):
    return "\n".join([head, *(",".join("" if c is None else str(c) for c in r) for r in table)])


def lines(*table):
    return "\n".join(json.dumps(row) for row in table)


FINE = {
    "usual": (rows(HEAD, OK), [1, 2, 3], ""),
    "byte order mark": ("\ufeff" + rows(HEAD, OK), [1, 2, 3], ""),
    "windows": (rows(HEAD, OK).replace("\n", "\r\n"), [1, 2, 3], ""),
    "semicolons": (rows(HEAD, OK).replace(",", ";"), [1, 2, 3], ""),
    "tabs": (rows(HEAD, OK).replace(",", "\t"), [1, 2, 3], ""),
    "spaces": (rows(HEAD, OK).replace(",", "   "), [1, 2, 3], ""),
    "empty lines": ("\n" + rows(HEAD, OK).replace("\n", "\n\n"), [1, 2, 3], ""),
    "comma at the end": (rows(HEAD, OK).replace("\n", ",\n") + ",", [1, 2, 3], ""),
    "comma at one end": (rows(HEAD, OK).replace("\n3", ",\n3"), [1, 2, 3], ""),
    "short rows": (rows(HEAD, [*OK, (4, 1.0)]) + "\n", [1, 2, 3], "3 of 4 rows have test values"),
    "words beside": (rows(f"{HEAD},note", [(*r, "good") for r in OK]), [1, 2, 3], ""),
    "step 0": (rows(HEAD, [(0, 0.1, 0.1), *OK]), [0, 1, 2, 3], ""),
    "slashes": (rows("_step,train/acc,test/acc", OK), [1, 2, 3], ""),
    "camels": (rows("globalStep,trainAccuracy,testAccuracy", OK), [1, 2, 3], ""),
    "of a program": (rows("Step,Accuracy/train,Accuracy/validation", OK), [1, 2, 3], ""),
    "bare and val": (rows("epoch,accuracy,val_accuracy", OK), [1, 2, 3], ""),
    "long names": (
        rows("epoch,sparse_categorical_accuracy,val_sparse_categorical_accuracy", OK),
        [1, 2, 3], "",
    ),
    "val and test": (
        rows("step,train_acc,val_acc,test_acc", [(*r[:2], 0.3, r[2]) for r in OK]),
        [1, 2, 3], "'test_acc' is used, not val_acc",
    ),
    "both steps": (
        rows("_step,global_step,train_acc,test_acc", [(9 * r[0], *r) for r in OK]),
        [1, 2, 3], "'global_step' is used, not _step",
    ),
    "rates": (
        rows("_step,time_per_step,samples_per_epoch,train_acc,test_acc",
             [(r[0], 0.1, 50, *r[1:]) for r in OK]),
        [1, 2, 3], "",
    ),
    "percents": (
        rows(HEAD, [(1, 50.0, 1.5), (2, 100.0, 97.0)]), [1, 2], "accuracies are percents",
    ),
    "clock": (rows("epoch,wall_time,train_acc,test_acc", [(r[0], 1e9, *r[1:]) for r in OK]),
              [1, 2, 3], ""),
    "rare tests": (
        rows(HEAD, [(1, 0.5, 0.5), (2, 0.7, None), (3, 0.9, None), (4, 1.0, 1.0)]),
        [1, 4], "2 of 4 rows have test values",
    ),
    "tests apart": (
        rows(HEAD, [(1, 0.5, None), (1, None, 0.5), (2, 1.0, None), (3, None, 1.0)]),
        [1, 3], "train_accuracy: values are the last ones logged before a test",
    ),
    "test at first": (
        rows(HEAD, [(0, None, 0.1), *OK]), [1, 2, 3], "1 test is left out, before the first value",
    ),
    "late tests": (
        rows(HEAD, [(1, 0.5, 0.5), (2, 1.0, None), (3, 1.0, None), (2, None, 0.5), (4, 1.0, 1.0)]),
        [1, 2, 4], "",
    ),
    "resumed": (
        rows(HEAD, [(1, 0.5, 0.5), (2, 0.6, 0.5), (3, 0.7, 0.5), (2, 1.0, 0.6), (4, 1.0, 1.0)]),
        [1, 2, 4], "line 5: step goes back from 3 to 2; taken as a resumed run",
    ),
    "the same step": (
        rows(HEAD, [*OK, (3, 1.0, 0.9)]), [1, 2, 3], "another value for the same step once",
    ),
    "batches of an epoch": (
        rows("epoch,train_acc,test_acc", [(1, 0.1, None), (1, 0.5, 0.5), (2, 1.0, 0.5)]),
        [1, 2], "train_accuracy: another value for the same epoch once",
    ),
    "no step here": (
        rows(HEAD, [*OK, (None, 1.0, 1.0)]), [1, 2, 3], "1 row is left out, because they have no",
    ),
    "gaps": (
        rows(HEAD, [(1, 0.5, 0.5), (2, 1.0, "nan"), (3, 1.0, 0.5), (4, 1.0, "NaN"), (5, 1, 1)]),
        [1, 3, 5], "test_accuracy: 2 values are not finite, and left out",
    ),
    "gap at the end": (
        rows(HEAD, [(1, 1, 0.5), (2, 1, "nan"), (3, 1, "nan"), (4, 1, 0.5), (5, 1, "nan")]),
        [1, 4], "3 values are not finite, and left out",
    ),
    "gap as long as the end": (
        rows(HEAD, [(1, 1, 0.5), (2, 1, "nan"), (3, 1, 0.5), (4, 1, "nan")]),
        [1, 3], "2 values are not finite, and left out",
    ),
    "breaks": (
        rows(HEAD, [*OK, (4, "nan", 0.1), (5, "nan", 0.1)]),
        [1, 2, 3], "values are not finite from step 4 on: the record ends before it",
    ),
    "words for nothing": (
        rows(HEAD, [*OK[:1], (2, 1.0, "-"), (3, "None", "N/A"), (4, 1.0, 1.0)]), [1, 4], "",
    ),
    "lines": (
        lines(*({"step": s, "train_acc": a, "test_acc": b} for s, a, b in OK)), [1, 2, 3], "",
    ),
    "null": (
        lines(*({"step": s, "train_acc": a, "test_acc": b} for s, a, b in [*OK, (4, 1.0, None)])),
        [1, 2, 3], "3 of 4 rows",
    ),
    "numbers as words": (
        lines(*({"step": str(s), "train_acc": f"{a}", "test_acc": b} for s, a, b in OK)),
        [1, 2, 3], "",
    ),
    "lists beside": (
        lines(*({"step": s, "betas": [0.9], "train_acc": a, "test_acc": b} for s, a, b in OK)),
        [1, 2, 3], "",
    ),
    "list of objects": (
        json.dumps([{"step": s, "train_acc": a, "test_acc": b} for s, a, b in OK], indent=1),
        [1, 2, 3], "",
    ),
    "times": (
        rows("t,train_acc,test_acc", OK), [1, 2, 3], "'t' are taken as gradient-flow times",
    ),
    "losses": (
        rows("step,loss,eval_loss", [(1, 1, 1), (2, 0.0, 1), (3, 0.0, 0.0)]),
        [1, 2, 3], "without accuracies the score is 1 - loss / first loss",
    ),
    "test accuracy only": (
        rows("step,loss,eval_loss,eval_accuracy", [(1, 1, 1, 0.1), (2, 0, 1, 0.1), (3, 0, 0, 1)]),
        [1, 2, 3], "test_accuracy is left out, as there is no train accuracy",
    ),
    "a total at the end": (
        lines({"step": 1, "loss": 1.0, "eval_loss": 1.0},
              {"step": 2, "loss": 0.0, "eval_loss": 0.5},
              {"step": 2, "train_loss": 0.3, "train_runtime": 3.0}),
        [1, 2], "'loss' is used, not train_loss",
    ),
    "a cut line": ('{"step": 1, "train_acc": 1.0, "test_acc": 1.0}\n{"step": 2, "tra',
                   [1], "log.txt, line 2 is cut off and left out"),
    "a cut row": (rows(HEAD, OK) + "\n4,0.9", [1, 2, 3], "log.txt, line 5 is cut off and left out"),
    "half of a number": (rows(HEAD, OK) + "\n4,0.9,0.98765e-", [1, 2, 3],
                         "log.txt, line 5 is cut off and left out"),
    "half of a word": (rows(HEAD, OK) + "\n4,0.9,nul", [1, 2, 3], "line 5 is cut off and left out"),
    "perhaps half of a number": (rows(HEAD, OK), [1, 2, 3],
                                 "line 4 has no end of line: its last number may be cut off"),
    "no end of line": (rows(HEAD, OK).rstrip("\n"), [1, 2, 3], "only 3 records have test values"),
    "one row": (rows(HEAD, OK[:1]), [1], "only 1 record has test values"),
    "thousands": (
        rows(HEAD, [(900, 0.5, 0.5), ('"1,091"', 0.9, 0.5), ('"1,200"', 1.0, 1.0)]),
        [900, 1091, 1200], "step: the comma of 1,091 is taken as one between thousands",
    ),
    "thousands of epochs": (  # 900 after 1.091 would go back
        rows("epoch,train_acc,test_acc", [('"900"', 0.5, 0.5), ('"1,091"', 1, 0.5)]),
        [900, 1091], "epoch: the comma of 1,091",
    ),
    "large thousands": (
        rows("epoch;train_acc;test_acc", []) + "\n2,000;0.5;0.5\n1,091,000;1.0;0.5",
        [2000, 1091000], "",
    ),
    "thousands beside points": (
        rows("step,loss,eval_loss", [(1, '"1,091"', 1.5), (2, 0.5, 0.75)]),
        [1, 2], "loss: the comma of 1,091",
    ),
    "spaced thousands": (
        rows(HEAD, [(900, 0.5, 0.5), ("1 091", 0.9, 0.5), ("1\u00a0200", 1, 1), ("1'300", 1, 1),
                    ("1_400", 1, 1), ("1,500.0".join('""'), 1, 1)]),
        [900, 1091, 1200, 1300, 1400, 1500], "",
    ),
    "percent signs": (
        rows(HEAD, [(1, "50 %", "0.5 %"), (2, "100%", "97.5%"), (3, "98 %", "")]), [1, 2], "",
    ),
    "infinite values": (
        rows(HEAD, [(1, 0.5, 0.5), (2, 1.0, "inf"), (3, 1.0, 0.5), (4, 1, "-Infinity"), (5, 1, 1)]),
        [1, 3, 5], "test_accuracy: 2 values are not finite, and left out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FINE)
def test_odd_logs_are_read(what, tmp_path):
    text, at, note = FINE[what]
    (tmp_path / "log.txt").write_bytes(text.encode())
    with warnings.catch_warnings():
        if what == "percents":
            warnings.simplefilter("ignore", UserWarning)
        log = lr.records.read_log(tmp_path / "log.txt")
    assert log.record["time"].values.tolist() == at
    assert note in "\n".join(log.notes)
    if what in ("breaks",):
        assert lr.transition(log.record).outcome == "failed"


def test_percent_signs_are_taken_as_they_are(tmp_path):
    (tmp_path / "log.csv").write_text(rows(HEAD, [(1, "50 %", "0.5 %"), (2, "100%", "97.5%")]))
    log = lr.records.read_log(tmp_path / "log.csv")
    np.testing.assert_allclose(log.record["train_accuracy"], [0.5, 1.0])
    np.testing.assert_allclose(log.record["test_accuracy"], [0.005, 0.975])
    log = lr.records.read_log(tmp_path / "log.csv", percent=True)
    assert log.record["train_accuracy"].values.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    "table",
    [
        [(1, "50%", 5), (2, "100%", 97)],  # one column with signs
        [(1, "50%", "5%"), (2, 100, 97)],  # both columns with and without
        [(1, 50, "5%"), (2, "100%", "97%")],
    ],
)
def test_percent_is_for_accuracies_without_a_sign(table, tmp_path):
    (tmp_path / "log.csv").write_text(rows(HEAD, table) + "\n")
    with pytest.raises(lr.InputError, match=r"signs: say so by percent=True \(--percent\)"):
        lr.records.read_log(tmp_path / "log.csv")
    log = lr.records.read_log(tmp_path / "log.csv", percent=True)
    assert log.record["train_accuracy"].values.tolist() == [0.5, 1.0]
    assert log.record["test_accuracy"].values.tolist() == [0.05, 0.97]
    with pytest.raises(lr.InputError, match="should be between 0 and 1"):
        lr.records.read_log(tmp_path / "log.csv", percent=False)


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize(
    "table",
    [
        "1;2,303;2,305\n2;1,091;2,299\n3;nan;nan\n4;1,050;2,200",
        "1;2,303;2,305\n2;1,091;2,299\n3;inf;-inf\n4;1,050;2,200",
        "1;2,303;2,305\n2;1,091;2,299\n3;1e-05;9.5e-06",
        "1;3;3\n2;2,999;2,998",  # a loss may decrease
        "1;1 091;3\n2;2,303;2",  # a space between thousands, a comma for decimals
        "1;50 %;3\n2;2,303;2",
    ],
)
def test_decimal_commas_of_losses_are_never_read_as_thousands(table, end, tmp_path):
    (tmp_path / "log.csv").write_text("step;train_loss;test_loss\n" + table + end)
    with pytest.raises(lr.InputError, match=r"_loss = '2,\d+': could be 2\d+ or 2\.\d+: write it"):
        lr.records.read_log(tmp_path / "log.csv")


def test_wrong_labels_are_named_beside_exchanged_columns(tmp_path):
    # 80 % of the training labels are wrong, and no parameters are left to fit them.
    learned = 1 / (1 + (LOGGED / 30.0) ** -3)
    table = zip(LOGGED, 0.1 + 0.18 * learned, 0.1 + 0.88 * learned, strict=True)
    (tmp_path / "log.csv").write_text(rows(HEAD, table) + "\n")
    note = "\n".join(lr.records.read_log(tmp_path / "log.csv").notes)
    assert "exchanged? --column train_accuracy=COLUMN says which is which; wrong labels" in note


def test_a_resumed_run_replaces_what_was_lost(tmp_path):
    # Tests every third step, in rows of their own. The run stops after step 7, goes on from step 2.
    def session(steps, offset):
        for s in steps:
            yield s, offset + s / 100, None
            if s % 3 == 0:
                yield s, None, offset

    before = list(session(range(8), 0.25))
    after = session(range(2, 13), 0.5)
    (tmp_path / "log.csv").write_text(rows(HEAD, [*before, *after]))
    log = lr.records.read_log(tmp_path / "log.csv")
    assert log.record["time"].values.tolist() == [0, 3, 6, 9, 12]
    assert log.record["test_accuracy"].values.tolist() == [0.25, 0.5, 0.5, 0.5, 0.5]
    assert log.record["train_accuracy"].values.tolist() == [0.25, 0.53, 0.56, 0.59, 0.62]
    assert sum("goes back" in note for note in log.notes) == 1
    # The same where it stops again before the next test: the lost test is no part of the run.
    (tmp_path / "log.csv").write_text(rows(HEAD, [*before, (5, 0.9, None)]))
    log = lr.records.read_log(tmp_path / "log.csv")
    assert log.record["time"].values.tolist() == [0, 3]


REFUSED = {
    "no test": (rows("step,train_acc,lr", OK), "columns of train and test accuracy, or train and"),
    "no step": (rows("when,train_acc,test_acc", OK), "step=# for the number of the row"),
    "clock only": (rows("wall_time,train_acc,test_acc", OK), "has no step, epoch or time"),
    "which test": (rows("step,train_acc,val_acc,dev_acc", [(*r, 1) for r in OK]),
                   "could be any of val_acc, dev_acc: choose one by --column test_accuracy=COLUMN"),
    "which training": (
        rows("step,train_acc_step,train_acc_epoch,test_acc", [(*r, 1) for r in OK]),
        "could be any of train_acc_step, train_acc_epoch",
    ),
    "word": (rows(HEAD, [*OK, (4, 1.0, "high")]),
             "log.txt, line 5, column test_acc = 'high': should be a number"),
    "comma in numbers": (rows(HEAD, OK).replace(",", ";").replace(".", ","),
                         "column train_acc = '0,5': should be a number with a decimal point"),
    "comma in a loss": (
        rows("step,loss,eval_loss", [(1, '"1,091"', 1.5), (2, '"2,125"', 0.75)]),
        "line 2, column loss = '1,091': could be 1091 or 1.091: write it without a comma",
    ),
    "comma in a percent": (rows(HEAD, [*OK, (4, '"98,5 %"', 1.0)]), "decimal point: replace the"),
    "sign only": (rows(HEAD, [*OK, (4, "%", 1.0)]), "column train_acc = '%': should be a number"),
    "words of truth": (rows(HEAD, [*OK, (4, "True", 1.0)]), "train_acc = 'True': should be a"),
    "truth": (lines({"step": 1, "train_acc": True, "test_acc": 1.0}), "column train_acc = 'True'"),
    "two runs": (rows(HEAD, [*OK, *OK]), "line 5 = 1.0: step goes back from 3: a log should be of"),
    "backwards": (rows(HEAD, OK[::-1]), "step goes back from"),
    "shuffled": (rows(HEAD, [(s, 1, 1) for s in [0, *[k for n in range(2, 60, 2)
                                                      for k in (n + 2, n)]]]), "in the order"),
    "mixed units": (rows(HEAD, [(1, 50, 0.5), (2, 100, 0.97)]),
                    "could be a fraction, or a percent as train_accuracy"),
    "negative": (rows(HEAD, [(-1, 1.0, 1.0)]), "should not be negative"),
    "infinite": (rows(HEAD, [*OK, ("inf", 1.0, 1.0)]), "line 5, column step = inf: should be"),
    "all missing": (rows(HEAD, [(1, "nan", "nan")]), "should have rows with finite values"),
    "cells": (rows(HEAD, [*OK, (4, 1.0, 1.0, 7)]), "line 5 = '7': has 4 cells, but the header has"),
    "halves of numbers": (rows(HEAD, OK).replace("0.5", "0,5").replace("1.0", "1,0"),
                          "but the header has 3: if these are decimal commas, replace them by"),
    "own names": (rows("Schritt,lern,probe", OK),
                  "--column step=Schritt --column train_accuracy=COLUMN --column test_accuracy="),
    "names": (rows("step,train_acc,train_acc", OK), "should name each column once"),
    "utf-16": (rows(HEAD, OK).encode("utf-16"), "should be a log in CSV or JSON lines"),
    "lists apart": (json.dumps({"step": [1, 2], "train_acc": [1.0], "test_acc": [1.0]}),
                    "lists should have one length"),
    "long line": (json.dumps({"step": 1, "a": "x" * 2**20}) + "\n{}", "should be JSON lines"),
    "cut in between": ('{"step": 1, "train_acc": 1.0, "test_acc": 1.0}\n{"step": 2, "tra\n{}\n',
                       "should be one JSON object in each line"),
}  # fmt: skip


LOGGED = np.unique(np.geomspace(1, 10_000, 60).round())
FIT = 1 / (1 + (LOGGED / 30.0) ** -3)  # from 0 to 1 about step 30
LATER = 1 / (1 + (LOGGED / 2000.0) ** -3)


def _mean(curve):
    """The mean of a curve over all steps until now."""
    every = np.interp(np.arange(1, LOGGED[-1] + 1), LOGGED, curve)
    return np.cumsum(every)[LOGGED.astype(int) - 1] / LOGGED


# Curves of training and test, and words of the note: "" for none.
COLUMNS = {
    # Dropout: lower, by a little and on the way.
    "dropout": ({"train_accuracy": 0.97 * FIT, "test_accuracy": FIT}, ""),
    "heavy augmentation": ({"train_accuracy": 0.45 * FIT, "test_accuracy": FIT}, "eval mode"),
    "a running mean": ({"train_accuracy": _mean(FIT), "test_accuracy": FIT}, "eval mode"),
    "a loss in train mode": (
        {"train_accuracy": 0.6 * FIT, "test_accuracy": FIT,
         "train_loss": 1.2 - FIT, "test_loss": 1.01 - FIT}, "eval mode",
    ),
    "only losses": ({"train_loss": 1.2 - FIT, "test_loss": 1.01 - FIT}, ""),
    "delayed": ({"train_accuracy": FIT, "test_accuracy": LATER}, ""),
    "delayed, exchanged": (
        {"train_accuracy": LATER, "test_accuracy": FIT}, "training accuracy 0.00",
    ),
    "first records after the fit, exchanged": (
        {"train_accuracy": LATER, "test_accuracy": np.ones_like(FIT)}, "are the two columns exch",
    ),
    "two classes, exchanged": (
        {"train_accuracy": 0.5 + 0.5 * LATER, "test_accuracy": 0.5 + 0.5 * FIT}, "exchanged?",
    ),
    "overfit": ({"train_loss": 1.01 - FIT, "test_loss": 1 + LATER - 0.5 * FIT}, ""),
    "overfit, exchanged": (
        {"train_loss": 1 + LATER - 0.5 * FIT, "test_loss": 1.01 - FIT}, "the training loss rises",
    ),
}  # fmt: skip


def test_a_training_accuracy_of_train_mode_is_no_reason_to_change_the_model(tmp_path):
    path = as_csv(tmp_path, LOGGED, {"train_accuracy": 0.7 * FIT, "test_accuracy": FIT})
    events = lr.transition(lr.records.read_log(path).record)
    assert events.outcome == "untrained"
    assert "log it in eval mode; or say what counts as a fit: --threshold tra" in events.advice
    path = as_csv(tmp_path, LOGGED, {"train_accuracy": 0.7 * FIT, "test_accuracy": 0.7 * FIT})
    assert "eval mode" not in lr.transition(lr.records.read_log(path).record).advice
    # The way out that it names.
    path = as_csv(tmp_path, LOGGED, {"train_accuracy": 0.7 * FIT, "test_accuracy": FIT})
    low = lr.records.read_log(path, thresholds=lr.Thresholds(train=0.65)).record
    assert lr.transition(low).outcome in ("immediate", "gradual")


@pytest.mark.parametrize("what", COLUMNS)
def test_exchanged_columns_are_asked_for_and_no_others(what, tmp_path):
    curves, words = COLUMNS[what]
    notes = lr.records.read_log(as_csv(tmp_path, LOGGED, curves)).notes
    said = [note for note in notes if "eval mode" in note or "?" in note or "only" in note]
    if not words:
        assert not said
        return
    (note,) = said
    assert words in note
    assert ("exchanged" in what) == ("are the two columns exchanged? --column train_" in note)


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_known_is_refused_in_a_line(what, tmp_path):
    text, message = REFUSED[what]
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "log.txt").write_bytes(content)
    with pytest.raises(lr.InputError) as error:
        lr.records.read_log(tmp_path / "log.txt")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_choice_settles_what_cannot_be_known(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(rows("when,train_acc,val_acc,dev_acc", [(9, *r[1:], 0.2) for r in OK]))
    log = lr.records.read_log(path, columns={"step": "#", "test_accuracy": "dev_acc"})
    assert log.record["time"].values.tolist() == [1, 2, 3]
    assert log.record["test_accuracy"].values.tolist() == [0.2] * 3
    path.write_text(rows(HEAD, [(1, 50, 0.5), (2, 100, 0.97)]))
    log = lr.records.read_log(path, percent=True)
    np.testing.assert_allclose(log.record["test_accuracy"], [0.005, 0.0097])
    with pytest.raises(lr.InputError, match="should be between 0 and 1"):
        lr.records.read_log(path, percent=False)
    # An axis that is chosen comes before others.
    path.write_text(rows("step,t,train_acc,test_acc", [(r[0], 10 * r[0], *r[1:]) for r in OK]))
    log = lr.records.read_log(path, columns={"time": "t"})
    assert log.record["time"].values.tolist() == [10, 20, 30]
    assert log.record["step"].values.tolist() == [1, 2, 3]


def test_one_of_several_exported_runs_is_read(tmp_path):
    path = tmp_path / "export.csv"
    head = "Step,a - b - train/acc,a - b - test/acc,c - train/acc,c - test/acc"
    path.write_text(rows(head, [(*r, None, None) for r in OK] + [(4, None, None, 1.0, 0.25)]))
    with pytest.raises(lr.InputError, match=r"has 2 runs, a - b, c: choose one by --run"):
        lr.records.read_log(path)
    with pytest.raises(lr.InputError, match=r"there are a - b, c"):
        lr.records.read_log(path, run="d")
    assert lr.records.read_log(path, run="a - b").record["time"].values.tolist() == [1, 2, 3]
    assert lr.records.read_log(path, run="c").record["test_accuracy"].values.tolist() == [0.25]
    path.write_text(rows(HEAD, OK))
    with pytest.raises(lr.InputError, match="is for logs of several runs"):
        lr.records.read_log(path, run="c")


def test_exports_of_single_tags_are_named_by_their_file(tmp_path):
    paths = []
    for place, name in ((1, "train_acc"), (2, "test_acc")):
        paths.append(tmp_path / f"run-mine-tag-{name}.csv")
        paths[-1].write_text(rows("Wall time,Step,Value", [(1e9, r[0], r[place]) for r in OK]))
    log = lr.records.read_log(paths)
    assert log.record["test_accuracy"].values.tolist() == [0.5, 0.5, 1.0]


def test_a_log_that_begins_after_the_fit_is_fitted():
    # The loss of the first row is no reference: the data were fitted before.
    steps = np.arange(500, 5000, 500)
    curves = {"train_accuracy": np.ones(9), "test_accuracy": np.full(9, 0.5),
              "train_loss": np.full(9, 1e-3), "test_loss": np.full(9, 2.0)}  # fmt: skip
    events = lr.transition(lr.record(steps, curves, unit="step"))
    assert (events.outcome, events.t_train) == ("unchanged", 500)
    # With a reference the loss counts: half of a loss of 1e-3 is not reached.
    known = lr.record(steps, curves, unit="step", scales={"blank_loss": 1.5e-3})
    assert lr.transition(known).outcome == "untrained"


# Event files, with damage of all kinds.


def crc32c(data):
    """Bit by bit: another way than that of the reader."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(event, length=None):
    head = struct.pack("<Q", len(event) if length is None else length)
    return head + struct.pack("<I", crc32c(head)) + event + struct.pack("<I", crc32c(event))


def varint(value):
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def scalar(tag, value, as_tensor=False):
    simple = b"\x15" + struct.pack("<f", value)
    tensor = message(8, b"\x08\x01" + message(4, struct.pack("<f", value)))
    return message(1, message(1, tag.encode()) + (tensor if as_tensor else simple))


def event(step, *values):
    return b"\x09" + struct.pack("<d", 1e9) + b"\x10" + varint(step) + message(5, b"".join(values))


def events(as_tensor=False):
    found = framed(b"\x09" + bytes(8) + message(3, b"brain.Event:2"))
    for step, train, test in OK:
        found += framed(event(step, scalar("train/acc", train, as_tensor)))
        found += framed(event(step, scalar("test/acc", test, as_tensor)))
    return found


def read_events(tmp_path, data):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(data)
    return lr.records.read_log(path)


def test_the_checksum_is_that_of_the_standard():
    # RFC 3720, appendix B.4.
    for data, crc in (
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ):
        expected = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert crc32c(data) == expected
        # Beside parts of other lengths.
        whole = np.frombuffer(b"abc" + data + b"defg", dtype=np.uint8)
        found = masked_crc32c(whole, np.array([0, 3, 35, 3]), np.array([3, 32, 4, 0]))
        assert found.tolist() == [crc32c(b"abc"), expected, crc32c(b"defg"), crc32c(b"")]


@pytest.mark.parametrize("as_tensor", [False, True])
def test_scalars_of_events_are_read(as_tensor, tmp_path):
    log = read_events(tmp_path, events(as_tensor))
    assert log.record["test_accuracy"].values.tolist() == [0.5, 0.5, 1.0]
    assert log.columns["test_accuracy"] == "test/acc"


def test_a_cut_row_is_left_out_wherever_it_is(tmp_path):
    # Rows are converted 1,024 at a time. The cut row is the last of the first ones.
    table = [(k, 1.0, 0.5) for k in range(1, 1024)]
    (tmp_path / "log.csv").write_text(rows(HEAD, table) + "\n1024,1.0")
    log = lr.records.read_log(tmp_path / "log.csv")
    assert log.record["time"].values.tolist() == list(range(1, 1024))
    assert any("line 1,025 is cut off" in note for note in log.notes)
    (tmp_path / "log.csv").write_text(rows(HEAD, table) + "\n1024,1.0,0.5\n")
    whole = lr.records.read_log(tmp_path / "log.csv")
    assert whole.record.sizes["time"] == 1024
    assert not [note for note in whole.notes if "cut off" in note]


def test_a_file_that_is_still_written_is_read_up_to_its_end(tmp_path):
    whole = events()
    for cut in (1, 5, 20):
        log = read_events(tmp_path, whole[:-cut])
        assert log.record["time"].values.tolist() == [1, 2]
        assert any("the last event is cut off" in note for note in log.notes)


def test_damaged_event_files_are_refused_in_a_line(tmp_path):
    whole = events()
    flipped = bytearray(whole)
    flipped[-10] ^= 1
    for data, words in (
        (bytes(flipped), r"tfevents.1.host, byte \d+ = 'an event': is damaged"),
        (whole[:40] + b"\x00" + whole[40:], "is damaged"),
        (whole + framed(b"", 2**62), None),
        (whole + framed(b"\xff" * 11), "cannot be read"),
        (whole + framed(message(5, message(1, b"\x0a\xff"))), "cannot be read"),
        (whole + framed(b"\x0b"), "cannot be read"),
        (b"", "at least one row"),
        (b"x" * 50, "is damaged"),
    ):
        if words is None:  # a length that nobody can allocate is a record that is cut off
            assert len(read_events(tmp_path, data).record["time"]) == 3
            continue
        with pytest.raises(lr.InputError, match=words) as error:
            read_events(tmp_path, data)
        assert "\n" not in str(error.value)


def frames(messages):
    """A file of Weights & Biases."""
    found = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for content in messages:
        left = 2**15 - len(found) % 2**15
        assert left > 7 + len(content)
        kind = bytes([1])
        found += struct.pack("<IHB", zlib.crc32(kind + content), len(content), 1) + content
    return found


def history(**values):
    items = [message(1, message(1, k.encode()) + message(16, json.dumps(v).encode()))
             for k, v in values.items()]  # fmt: skip
    return message(2, b"".join(items))


@pytest.mark.parametrize("head", ["iteration_nr,foo,bar\n", ""])
def test_a_log_without_a_known_column_names_those_it_has(head, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(head + "".join(f"{k},0.5,{k / 100}\n" for k in range(50)))
    with pytest.raises(lr.InputError, match="among iteration_nr, foo, bar:" if head else "first"):
        lr.records.read_log(path)


def test_damaged_files_of_weights_and_biases_are_refused_in_a_line(tmp_path):
    path = tmp_path / "run-1.wandb"
    rows_ = [history(_step=s, train_acc=a, test_acc=b) for s, a, b in OK]
    whole = frames(rows_)
    path.write_bytes(whole)
    log = lr.records.read_log(path)
    assert log.record["test_accuracy"].values.tolist() == [0.5, 0.5, 1.0]
    path.write_bytes(whole[:-3])
    log = lr.records.read_log(path)
    assert log.record["time"].values.tolist() == [1, 2]
    assert any("the last message is cut off" in note for note in log.notes)
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for data, words in (
        (bytes(flipped), "byte .* is damaged"),
        (frames([b"\x12\xff"]), "cannot be read"),
        (frames([message(2, message(1, message(16, b"[[[[")))]), "cannot be read"),
        (whole[:4], "at least one row"),
    ):
        path.write_bytes(data)
        with pytest.raises(lr.InputError, match=words):
            lr.records.read_log(path)


def test_random_damage_never_gives_another_error(tmp_path):
    random = np.random.default_rng(5)
    frame = frames([history(_step=s, train_acc=a, test_acc=b) for s, a, b in OK])
    table = rows(HEAD, OK).encode()
    for whole, name in ((events(), "e.tfevents.1"), (frame, "r.wandb"), (table, "log.csv")):
        for _ in range(60):
            data = bytearray(whole)
            for place in random.integers(0, len(data), random.integers(1, 6)):
                data[place] = random.integers(256)
            del data[random.integers(len(data) // 2, len(data) + 1) :]
            (tmp_path / name).write_bytes(data)
            with contextlib.suppress(lr.InputError), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # percents
                lr.records.read_log(tmp_path / name)


def test_folders_of_event_files(tmp_path):
    def write(name, *tags, since=1):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        data = b"".join(
            framed(event(s, *(scalar(tag, 0.125 * place) for place, tag in enumerate(tags, 1))))
            for s in range(since, since + 3)
        )
        (tmp_path / name / f"events.out.tfevents.{since}.host").write_bytes(data)

    def read(name, **more):
        return lr.records.read_log(tmp_path / name, **more)

    # A run that was resumed at step 3 has two files in its folder.
    write("one", "train/acc", "test/acc")
    write("one", "train/acc", "test/acc", since=3)
    log = read("one")
    assert log.record["time"].values.tolist() == [1, 2, 3, 4, 5]
    # As Keras writes training and validation, and PyTorch the parts of one chart.
    write("keras/train", "epoch_accuracy", "epoch_loss")
    write("keras/validation", "epoch_accuracy", "epoch_loss")
    assert read("keras").columns["test_loss"] == "validation/epoch_loss"
    write("chart", "lr")
    write("chart/acc_train", "acc")
    write("chart/acc_test", "acc")
    log = read("chart")
    assert log.columns["train_accuracy"] == "acc_train/acc"
    assert any("folders of one run" in note for note in log.notes)
    # Two runs.
    write("two/a", "train/acc", "test/acc")
    write("two/b", "test/acc", "train/acc")
    with pytest.raises(lr.InputError, match="has 2 runs, a, b: choose one by --run"):
        read("two")
    assert read("two", run="b").record["test_accuracy"].values.tolist() == [0.125] * 3
    (tmp_path / "none").mkdir()
    with pytest.raises(lr.InputError, match="it has none"):
        read("none")


def test_what_our_trackers_write_is_read_again(tmp_path):
    """A flow has no steps: the tracker counts its records, and writes its times as a curve."""
    pytest.importorskip("tensorboardX")
    ours = lr.record(STEPS / 64, RUN)
    lr.trackers.TensorBoard(tmp_path / "runs").write(ours)
    log = lr.records.read_log(tmp_path / "runs", columns={"time": "t"})
    np.testing.assert_array_equal(log.record["time"], STEPS / 64)
    assert_same(log.record, ours, 1e-5)
    # Without the choice the axis is the number of the record, and the times are not read.
    log = lr.records.read_log(tmp_path / "runs")
    np.testing.assert_array_equal(log.record["time"], np.arange(len(STEPS)))
    assert "time" not in log.columns


def test_large_logs_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text(rows(HEAD, [(s, 1.0, 1.0) for s in range(3000)]))
    monkeypatch.setattr(lr.records.logs.table, "MAX_NUMBERS", 3000)
    with pytest.raises(lr.InputError, match="has more than 3,000 numbers: keep the columns"):
        lr.records.read_log(path)
    # 256 MiB and one byte, of which the disk holds none.
    with path.open("r+b") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(lr.InputError, match="268,435,457 bytes, more than 268,435,456 are not"):
        lr.records.read_log(path)
    path.write_text(rows(HEAD, [(s, 1.0, 1.0) for s in range(3000)]))
    monkeypatch.setattr(lr.records.logs.table, "MAX_NUMBERS", 10**6)
    monkeypatch.setattr(lr.records.logs.table, "MAX_ROWS", 2000)
    with pytest.raises(lr.InputError, match="has more than 2,000 rows"):
        lr.records.read_log(path)


def test_a_log_is_told_what_its_reader_can_do():
    for outcome in MEANINGS:
        for state in ("settled", "moving", "stopped"):
            for ending in ("completed", "diverged", "max_steps"):
                words = advice_on(outcome, state, ending, logged=True)
                for field in ("t1", "init_scale", "weight_decay", "dynamics.", "record more"):
                    assert field not in words.replace("t10", ""), words


def test_a_log_on_its_plateau_is_told_of_a_late_transition():
    steps = np.arange(1, 2001, 10)
    curves = {"train_accuracy": np.where(steps < 50, 0.1, 1.0), "test_accuracy": np.full(200, 0.1)}
    events = lr.transition(lr.record(steps, curves, unit="step"))
    assert (events.outcome, events.state) == ("unchanged", "settled")
    assert "a plateau before a late transition looks the same" in events.advice
    assert "--weight-decay and --time-per-step" in events.advice
    # With both, as the advice says, the run counts as settled once decay has acted.
    for decay, state in ((1.0, "moving"), (10.0, "settled")):
        known = lr.record(steps, curves, time_per_step=1e-3, weight_decay=decay)
        assert lr.transition(known).state == state


def test_a_long_log_keeps_its_peaks_in_a_figure():
    steps = np.arange(1, 20_001)
    test = np.where(steps > 15_000, 1.0, 0.1)
    test[7_777] = 0.7  # one value in a long plateau
    log = lr.record(steps, {"train_accuracy": np.ones(len(steps)), "test_accuracy": test},
                    unit="step")  # fmt: skip
    figure = lr.plot.run(log)
    (axis,) = figure.axes
    each = [[np.asarray(part) for part in line.get_data()] for line in axis.lines]
    ((x, y),) = [(x, y) for x, y in each if 0.7 in y]
    assert x[y.tolist().index(0.7)] == 7_778
    assert len(x) < 5000
    assert (x[0], x[-1]) == (1, 20_000)


def call(monkeypatch, *arguments):
    return call_command(monkeypatch, "judge", *arguments)


def test_judge_says_what_it_read_and_found(tmp_path, monkeypatch, capsys):
    path = as_csv(tmp_path, STEPS, RUN)
    assert call(monkeypatch, path, "--save", tmp_path / "a.nc", "--scale", "test_chance=0.125") == 0
    out = capsys.readouterr().out
    assert "outcome          grokked: fitted at step 1" in out
    assert "chance 0.125" in out
    assert "train_accuracy from 'train_accuracy'" in out
    assert f"written to       {tmp_path / 'a.nc'}" in out
    saved = lr.open_record(tmp_path / "a.nc")
    events = lr.transition(saved)
    difference = round(events.t_change - events.t_train)
    assert f"{events.delay_ratio:.3g} times the time of the fit; {difference:,} steps later" in out
    assert f"times t10; {round(events.t90 - events.t10):,} steps" in out
    assert f"plateau          step {round(events.plateau[0]):,} to step" in out
    assert_same(saved, lr.record(STEPS, RUN, unit="step", scales={"test_chance": 0.125}), 0)


def test_judge_and_a_page_say_that_a_fit_was_before_the_first_row(tmp_path, monkeypatch, capsys):
    pytest.importorskip("plotly")
    # Fitted in the first row, step 40, and in none before; the change is half done at step 400.
    steps = np.geomspace(40, 40_000, 61).round()
    curves = {"train_accuracy": np.ones(61), "test_accuracy": np.where(steps < 400, 0.5, 1.0)}
    # With a row before that does not fit, it is the same; with one at step 30 it is a time.
    for first, bound in ((None, True), (0, True), (30, False)):
        if first is not None:
            both = {name: np.append(0.5, values) for name, values in curves.items()}
            path = as_csv(tmp_path, np.append(first, steps), both)
        else:
            path = as_csv(tmp_path, steps, curves)
        assert call(monkeypatch, path) == 0
        out, page = capsys.readouterr().out, tmp_path / "page.html"
        assert ("t_train          < step 40\n" in out) is bound
        found = lr.records.read_log(path).record
        ratio = lr.transition(found).delay_ratio
        assert 8.9 < ratio <= 10
        least = f"delay            at least {ratio:.3g} times the time of the fit; at least 3"
        assert (least in out) is bound
        lr.plot.report(found, page)
        text = page.read_text()
        assert ("t_train</th><td>&lt; 40</td>" in text) is bound
        assert ("delay_ratio</th><td>≥ " in text) is bound
        assert ("delay_difference</th><td>≥ 3" in text) is bound


def test_judge_prints_one_object(tmp_path, monkeypatch, capsys):
    paths = as_exports(tmp_path, STEPS, RUN)
    flow = ("--time-per-step", 0.01, "--weight-decay", 0.1)
    assert call(monkeypatch, *paths, *flow, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["outcome"] == "grokked"
    assert 1.5 < summary["t_train"] <= 2.0  # steps 150 to 200
    assert summary["log"]["columns"]["test_loss"] == "test/loss"
    assert tomllib.loads(lr.records.read_log(paths, weight_decay=0.1).record.attrs["experiment"])[
        "weight_decay"
    ] == pytest.approx(0.1)


def test_judge_says_when_a_training_that_goes_on_will_generalise(tmp_path, monkeypatch, capsys):
    # The accuracy is Φ(z), and z grows by 2.2 for each factor of e, from 0.05 at step 100 on.
    normal = NormalDist()
    steps = np.unique(np.round(np.geomspace(10, 250, 60)))
    z = normal.inv_cdf(0.05) + 2.2 * np.log(np.maximum(steps / 100, 1))
    curves = {
        "train_accuracy": np.where(steps < 100, 0.2, 1.0),
        "test_accuracy": np.array([normal.cdf(value) for value in z]),
    }
    path = as_csv(tmp_path, steps, curves)
    expected = 100 * np.exp(2 * normal.inv_cdf(0.95) / 2.2)
    assert call(monkeypatch, path, "--scale", "test_chance=0.04") == 0
    out = capsys.readouterr().out
    assert f"t test           step {expected:.0f}, from step" in out.partition("remaining")[2]
    assert call(monkeypatch, path, "--scale", "test_chance=0.04", "--json") == 0
    found = json.loads(capsys.readouterr().out)["remaining"]
    assert found["t_test"] == pytest.approx(expected, rel=1e-3)
    assert found["verdict"] == "immediate"  # half of the change comes at twice the fit
    # With a chance accuracy above 0.15 nothing calibrates the rate, and it says so.
    assert call(monkeypatch, path, "--scale", "test_chance=0.5") == 0
    out = capsys.readouterr().out
    assert "(confidence: low)" in out
    assert "the chance accuracy is 0.5: the present rate is extrapolated" in out
    assert call(monkeypatch, as_csv(tmp_path, STEPS, RUN)) == 0
    assert "remaining" not in capsys.readouterr().out


def test_judge_names_what_decides_the_outcome_of_a_rise_before_the_fit(
    tmp_path, monkeypatch, capsys
):
    # Above three quarters of the way from chance to 0.95 a score is good: for 0.8 up to 0.35.
    test = np.where(STEPS >= 100, 0.8, 0.125)
    path = as_csv(tmp_path, STEPS, {**RUN, "test_accuracy": test})
    assert call(monkeypatch, path) == 0
    out = capsys.readouterr().out
    assert "outcome          unchanged" in out
    assert "the test accuracy rose before the fit, from 0.125 to 0.8" in out
    assert "immediate if the chance accuracy is 0.25 or less: say so by --scale" in out
    assert "plateau          step 200 on: test score 0.8" in out
    assert call(monkeypatch, path, "--scale", "test_chance=0.25") == 0
    out = capsys.readouterr().out
    assert "outcome          immediate" in out
    assert "if the chance accuracy" not in out


def test_judge_tells_both_halves_of_a_change_apart(tmp_path, monkeypatch, capsys):
    # From 0 to 0.8 over a chance of 0.4, linear in the logarithm of the step.
    steps = np.arange(1, 2001)
    rise = np.clip(np.log(steps / 200) / np.log(1600 / 200), 0, 1)
    curves = {"train_accuracy": np.where(steps >= 20, 1.0, 0.0), "test_accuracy": 0.8 * rise}
    path = as_csv(tmp_path, steps, curves)
    assert call(monkeypatch, path, "--scale", "test_chance=0.4") == 0
    out = capsys.readouterr().out
    raw, above = 200 * 8**0.5, 200 * 8**0.75
    assert f"t50              step {raw:.0f}\n" in out
    assert f"t_change         step {above:.0f}: half of the change above chance, held" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["log.csv", "--scale", "chance=0.1"], "scales.chance = 0.1: unknown (did you mean test_"),
        (["log.csv", "--scale", "test_chance"], "should be NAME=NUMBER, such as test_chance=0.1"),
        (["log.csv", "--scale", "test_chance=x"], "should be NAME=NUMBER, such as test_chance=0.1"),
        (["log.csv", "--column", "test_acuracy=x"], "did you mean test_accuracy?"),
        (["log.csv", "--column", "step=stepp"], "did you mean step?"),
        (["log.csv", "--run", "a"], "is for logs of several runs; log.csv has one"),
        (["log.csv", "--figure", "a.gif"], "should end in .pdf, .png, .svg"),
        (["log.csv", "--save", "a.csv"], "should end in .nc"),
        (["log.csv", "--save", "none/a.nc"], "should be in an existing folder"),
        (["log.csv", "--report", "a.pdf"], "--report = 'a.pdf': should end in .html"),
        (
            ["log.csv", "--time-per-step", "0.1", "--column", "epoch=step"],
            "time_per_step = 0.1: needs steps, and the axis of this log is epoch",
        ),
        (["log.csv", "--weight-decay", "-1"], "should be finite and not negative"),
    ],
)
def test_bad_options_of_judge_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(rows(HEAD, OK))
    assert call(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv"}


@pytest.mark.slow
def test_figure_and_page_of_a_log(tmp_path, monkeypatch, capsys):
    library = pytest.importorskip("PIL.Image")
    path = as_events(tmp_path, STEPS, RUN)
    files = {"--figure": tmp_path / "a.png", "--report": tmp_path / "b.html"}
    assert call(monkeypatch, path, *(part for pair in files.items() for part in pair)) == 0
    for image in (tmp_path / "a.png", tmp_path / "b.png"):
        with library.open(image) as opened:
            colours = np.asarray(opened.convert("RGB")).reshape(-1, 3)
        assert len(np.unique(colours, axis=0)) > 50
        # The curves of test data are orange.
        assert np.sum(np.all(np.abs(colours.astype(int) - (0xD9, 0x5F, 0x0E)) < 40, axis=1)) > 500
    page = files["--report"].read_text()
    assert "test_accuracy from “Accuracy/test”" in page
    assert "logged by run" in page
    times = page.split("delay_difference")[1][:60]
    events = lr.transition(lr.records.read_log(path).record)
    assert f"<td>{round(events.delay_difference):,}</td>" in times
