"""Do the tests notice? Small mutations of the modules that decide what lazyrich says.

    make mutations            or, in the environment that it makes,
    .venv/mutations/bin/python benchmarks/mutations.py [--each 20] [--seed 0] [--only losses maps]
    .venv/mutations/bin/python benchmarks/mutations.py --again [--only losses maps]

Mutations are those of Cosmic Ray (another operator, comparison or constant, a dropped `not`,
`and` for `or`, an empty loop) and three of our own: a constant off by five per cent, a dropped
term of a sum, a condition that is never checked. Operators that fail on any float, such as a
shift in place of a sum, are left out, because every test would notice them.

In each room a number of places is drawn at random, with one mutation each. The tests of the
room run on a mutated copy of the tree, the quick ones first, and end with the first failure. A
mutation is killed when a test fails. Survivors are printed and kept in `mutations.json`, where a
reason can be written beside each; reasons are kept when the script runs again. Another `--seed`
draws other places, beside which the results of other seeds are kept. With `--again` no places are
drawn: all that survived at first meet the tests of today. With `--quick` slow tests and the checks
of types are left out, which is several times as fast, and fewer mutations are noticed.
"""

import argparse
import ast
import functools
import json
import multiprocessing
import os
import random
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import OPERATOR_PROVIDERS, get_operator, operator_names
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
KEPT = Path(__file__).with_suffix(".json")

# Tells the processes that slow tests and checks of types are left out.
QUICK = "LAZYRICH_MUTATIONS_QUICK"
# A mutation that makes the tests of a room take so many times as long is killed.
TIMES_AS_LONG = 5.0


class Room(NamedTuple):
    """Sources below `src/lazyrich`, and the files below `tests` that test them."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS: dict[str, Room] = {
    "transition": Room(("records/transition/*.py",), ("test_transition.py", "test_words.py")),
    "identity": Room(
        ("experiments/identity.py", "_core/description.py", "_core/fingerprint/*.py"),
        ("test_experiment.py", "test_identity.py"),
    ),
    "store": Room(("sweeps/_store/*.py",), ("test_store.py", "test_security.py")),
    "predictors": Room(
        ("predictors/*.py",),
        (
            "test_predictors.py",
            "test_margins.py",
            "test_completion.py",
            "test_kkt.py",
            "test_certificates.py",
            "test_predictors_property.py",
        ),
    ),
    "losses": Room(("losses/*.py",), ("test_losses.py", "test_own_solver_and_loss.py")),
    "kernels": Room(("kernel/*.py",), ("test_kernel.py", "test_probes.py")),
    "solvers": Room(
        ("solvers/*.py",),
        (
            "test_gauss_newton.py",
            "test_rodas5p.py",
            "test_damped_rkc2.py",
            "test_rosenbrock_w.py",
            "test_stabilised.py",
        ),
    ),
    "forecast": Room(
        ("forecasts/*.py",),
        (
            "test_forecast.py",
            "test_forecast_verdicts.py",
            "test_remaining.py",
            "test_modular_forecast.py",
            "test_pilot.py",
        ),
    ),
    "maps": Room(("maps/*.py", "sweeps/runs.py"), ("test_phase.py",)),
    "claims": Room(("claims/*.py",), ("test_claims.py",)),
    "logs": Room(("records/logs/*.py",), ("test_logs.py",)),
    "dynamics": Room(
        ("dynamics/*.py", "dynamics/*/*.py"),
        (
            "test_rates.py",
            "test_optimisers.py",
            "test_reduced_flow.py",
            "test_small_decay.py",
            "test_flow.py",
            "test_normalised.py",
            "test_simulate.py",
        ),
    ),
    "models": Room(
        ("models/*.py", "models/*/*.py"),
        (
            "test_models.py",
            "test_committee.py",
            "test_linearised.py",
            "test_normalised.py",
            "test_partly_decayed.py",
            "test_other_libraries.py",
            "test_torch_bridge.py",
        ),
    ),
    "torch": Room(
        ("torch/*.py", "torch/*/*.py", "torch/*/*/*.py"),
        (
            "test_torch_diagnosis.py",
            "test_torch_measures.py",
            "test_torch_functional.py",
            "test_torch_monitor.py",
            "test_torch_forecast.py",
            "test_torch_pilots.py",
            "test_torch_callbacks.py",
        ),
    ),
}


class OffByFivePerCent(Operator):  # type: ignore[misc]
    """A constant with a decimal point or an exponent, times 1.05."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        written = node.value.lower() if node.type == "number" else ""
        if set(written) & set(".e") and "x" not in written and float(written) != 0:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        del index
        return parso.python.tree.Number(f" {1.05 * float(node.value)!r}", node.start_pos)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DroppedTerm(Operator):  # type: ignore[misc]
    """A sum without its last term."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "arith_expr":
            yield node.children[-2].start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        del index
        del node.children[-2:]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class UncheckedCondition(Operator):  # type: ignore[misc]
    """An `if` whose condition never holds."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "if_stmt":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        del index
        node.children[1] = parso.python.tree.Keyword("False", node.children[1].start_pos, " ")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


OPERATOR_PROVIDERS["own"] = {
    kind.__name__: kind for kind in (OffByFivePerCent, DroppedTerm, UncheckedCondition)
}


class Place(NamedTuple):
    room: str
    mutation: MutationSpec


def without_numbers(tree: ast.Module) -> set[int]:
    """Lines that decide no number: annotations, messages of errors, imports for type checkers."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        spans: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            spans += [node.returns, *(arg.annotation for arg in node.args.args)]
            spans += [arg.annotation for arg in node.args.kwonlyargs]
        elif isinstance(node, ast.Raise):
            spans.append(node)
        elif isinstance(node, ast.If):
            spans.append(node if getattr(node.test, "id", "") == "TYPE_CHECKING" else None)
        elif isinstance(node, ast.AnnAssign):
            spans.append(node.annotation)
        for span in spans:
            if span is not None:
                lines |= set(range(span.lineno, (span.end_lineno or span.lineno) + 1))  # type: ignore[attr-defined]
    return lines


# Operators take the place of others of their family only: `<<` or `is` for `+` or `>` fail at once.
FAMILIES = (
    {"Add", "Sub", "Mul", "Div"},
    {"Pow", "Mul"},
    {"FloorDiv", "Mod", "Div"},
    {"BitAnd", "BitOr"},
    {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
)


def wanted(name: str) -> bool:
    """Whether an operator makes mutations that a test must look for."""
    if any(word in name for word in ("Decorator", "Break", "Continue", "Invert")):
        return False
    if "ReplaceBinaryOperator" in name or "ReplaceComparisonOperator" in name:
        pair = set(name.split("_")[1:])
        return any(pair <= family for family in FAMILIES)
    return True


def mutations(path: Path) -> Iterator[MutationSpec]:
    """Every mutation of a file that is wanted."""
    tree = get_ast_from_path(path)
    for name in filter(wanted, operator_names()):
        operator = get_operator(name)
        if operator.arguments():
            continue
        positions = (at for node in ast_nodes(tree) for at in operator().mutation_positions(node))
        for occurrence, (begin, end) in enumerate(positions):
            yield MutationSpec(path, name, occurrence, begin, end)


def places(room: str, each: int, seed: int) -> list[Place]:
    """`each` places of a room, drawn at random, with one of the mutations possible there."""
    at: dict[tuple[str, Any], list[MutationSpec]] = defaultdict(list)
    for pattern in ROOMS[room].sources:
        for path in sorted((ROOT / "src" / "lazyrich").glob(pattern)):
            silent = without_numbers(ast.parse(path.read_text(encoding="utf-8")))
            here = path.relative_to(ROOT)
            for mutation in mutations(here):
                if mutation.start_pos[0] not in silent:
                    at[str(here), mutation.start_pos].append(mutation)
    draw = random.Random(f"{room} {seed}")
    chosen = draw.sample(sorted(at), min(each, len(at)))
    return [Place(room, draw.choice(at[key])) for key in chosen]


def copied(folder: Path) -> Path:
    """A copy of what the tests need, to be mutated."""
    for name in ("src", "tests", "docs", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "*.json")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "mkdocs.yml", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def begin(parent: str, quick: bool) -> None:
    """Each process mutates a copy of its own."""
    os.environ[QUICK] = "yes" if quick else ""
    folder = copied(Path(tempfile.mkdtemp(dir=parent)))
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder / "src")
    # Most compiled functions are those of the tree without the mutation.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(parent) / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"


def command(room: str) -> str:
    """A command that exits with 0 if all tests of a room pass."""
    files = [f"tests/{name}" for name in ROOMS[room].tests]
    options = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    speeds: tuple[str, ...] = ("not slow", "slow")
    if os.environ.get(QUICK):
        speeds, options = ("not slow",), [*options, "-o", "addopts=--strict-markers"]
    parts = [[*options, "-m", f"{slow} and not battery"] for slow in speeds]
    return shlex.join([str(PYTHON), "-c", RUN_ALL, json.dumps(parts)])


# Exit code 5 of pytest says that a file has no tests of this kind.
RUN_ALL = """
import json, subprocess, sys
for part in json.loads(sys.argv[1]):
    code = subprocess.run([sys.executable, *part]).returncode
    if code not in (0, 5):
        sys.exit(code)
"""


@functools.cache
def limit(room: str) -> float:
    """The seconds that the tests of a room may take; without a mutation they must pass."""
    begun = time.perf_counter()
    done = subprocess.run(shlex.split(command(room)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"the tests of {room} fail without a mutation:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return TIMES_AS_LONG * (time.perf_counter() - begun)


def judge(place: Place) -> dict[str, Any]:
    seconds = limit(place.room)
    begun = time.perf_counter()
    result = mutate_and_test([place.mutation], command(place.room), seconds)
    changed = [
        line
        for line in (result.diff or "").splitlines()
        if line[:1] in "+-" and not line.startswith(("+++", "---"))
    ]
    return {
        "room": place.room,
        "place": str(place.mutation.module_path),
        "line": place.mutation.start_pos[0],
        "change": [line.strip() for line in changed],
        "killed": result.test_outcome == TestOutcome.KILLED,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def judge_again(survivor: dict[str, Any]) -> dict[str, Any]:
    """The same mutation, if its lines are still in the file, before the present tests."""
    seconds = TIMES_AS_LONG * max(survivor["seconds"], 600.0)
    path, change = Path(survivor["place"]), survivor["change"]
    old, new = ("\n".join(line[1:] for line in change if line[0] == sign) for sign in "-+")
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise RuntimeError(f"{path} has not the lines of the mutation once:\n{old}")
    begun = time.perf_counter()
    try:
        path.write_text(text.replace(old, new), encoding="utf-8")
        outcome, _ = run_tests(command(survivor["room"]), seconds)
    finally:
        path.write_text(text, encoding="utf-8")
    killed, taken = outcome == TestOutcome.KILLED, round(time.perf_counter() - begun, 1)
    return {**survivor, "killed": killed, "seconds": taken}


def earlier() -> dict[str, Any]:
    """The results of earlier runs, with the reasons written beside survivors."""
    if not KEPT.exists():
        return {"draws": [], "survivors": []}
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return kept


def judged(
    work: Callable[[Any], dict[str, Any]], todo: list[Any], processes: int, quick: bool
) -> list[dict[str, Any]]:
    """The results of `work`, each printed when it is there."""
    found: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as parent,
        context.Pool(processes, begin, (parent, quick)) as pool,
    ):
        for result in pool.imap_unordered(work, todo):
            found.append(result)
            word = "killed" if result["killed"] else "SURVIVED"
            print(
                f"{len(found):4d} of {len(todo)}  {result['seconds']:6.1f} s  {word:8s}", end="  "
            )
            print(f"{result['place']}:{result['line']}", flush=True)
            if not result["killed"]:
                print("      " + "\n      ".join(result["change"]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=20, help="places of each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(ROOMS), nargs="*", help="rooms, left out all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="the survivors, with today's tests")
    parser.add_argument(
        "--quick", action="store_true", help="without slow tests and checks of types"
    )
    asked = parser.parse_args()
    os.chdir(ROOT)
    rooms = asked.only or list(ROOMS)
    draws, survivors = earlier().values()
    if asked.again:
        todo = [s for s in survivors if s["room"] in rooms]
        found = judged(judge_again, todo, asked.processes, asked.quick)
        done = {of_draw(result) for result in found}
        for draw in draws:
            alive = [r for r in found if of_draw(r) == of_draw(draw) and not r["killed"]]
            if of_draw(draw) in done:
                draw["killed"] = draw["mutations"] - len(alive)
    else:
        drawn = [place for room in rooms for place in places(room, asked.each, asked.seed)]
        found = judged(judge, drawn, asked.processes, asked.quick)
        found = [{**result, "seed": asked.seed} for result in found]
        done = {(room, asked.seed) for room in rooms}
        draws = [draw for draw in draws if of_draw(draw) not in done]
        for room in rooms:
            here = [result["killed"] for result in found if result["room"] == room]
            row = {"room": room, "seed": asked.seed, "mutations": len(here)}
            draws.append({**row, "killed_at_first": sum(here), "killed": sum(here)})
    # Other draws keep their results.
    reasons = {(s["place"], *s["change"]): s["reason"] for s in survivors}
    kept = [s for s in survivors if of_draw(s) not in done]
    kept += [
        {**result, "reason": reasons.get((result["place"], *result["change"]), "")}
        for result in found
        if asked.again or not result["killed"]
    ]
    draws.sort(key=of_draw)
    print("room         seed  mutations  killed at first  killed by today's tests")
    for draw in draws:
        print(f"{draw['room']:12s} {draw['seed']:4d} {draw['mutations']:10d}", end=" ")
        print(f"{draw['killed_at_first']:16d} {draw['killed']:24d}")
    content = {"draws": draws, "survivors": sorted(kept, key=of_draw)}
    KEPT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def of_draw(result: dict[str, Any]) -> tuple[str, int]:
    return result["room"], result["seed"]


if __name__ == "__main__":
    main()
