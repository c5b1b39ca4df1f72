"""Medians over data seeds beside the published numbers: what `make panels` prints.

python benchmarks/panels.py [NUM_SEEDS]
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PANELS = ("lyu2024/1a", "lyu2024/1b", "lyu2024/3")


ALSO = (
    ("early", "cosine_to_kernel"),
    ("early", "distance_to_kernel"),
    ("early", "train_accuracy"),
    ("late", "cosine_to_rich"),
    ("late", "distance_to_rich"),
)


def main(num_seeds: int) -> None:
    for panel in PANELS:
        runs = []
        for seed in range(num_seeds):
            # A process each, so that time and memory are those of the command.
            with tempfile.TemporaryDirectory() as folder:
                command = ["lazyrich", "run", panel, "--set", f"seed={seed}", "--out", folder]
                executable = Path(sys.executable).parent / command[0]
                done = subprocess.run(
                    [executable, *command[1:], "--json"], check=True, capture_output=True, text=True
                )
            runs.append(json.loads(done.stdout))
        print(f"\n{panel}, seeds 0 to {num_seeds - 1}: {', '.join(r['outcome'] for r in runs)}")
        print(f"{'quantity':<22}{'published':>10}{'median':>10}{'ratio':>8}   each seed")
        for key, row in runs[0]["published"]["numbers"].items():
            values = [run["published"]["numbers"][key]["measured"] for run in runs]
            show(key, values, row["published"])
        for when, key in ALSO:
            if key in runs[0][when]:
                show(f"{when}.{key}", [run[when][key] for run in runs])
        show("t_train", [run["t_train"] for run in runs])
        show("steps", [run["solver"]["num_steps"] for run in runs])
        show("gradients", [run["solver"]["num_gradients"] for run in runs])
        show("solve, seconds", [run["seconds"]["solving the flow"] for run in runs])
        show("all, seconds", [run["wall_seconds"] for run in runs])


def show(key: str, values: list[float], published: float | None = None) -> None:
    median = statistics.median(values)
    theirs = "" if published is None else f"{published:.4g}"
    ratio = "" if published is None else f"{median / published:.3f}"
    each = ", ".join(f"{value:.4g}" for value in values)
    print(f"{key:<22}{theirs:>10}{median:>10.4g}{ratio:>8}   {each}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
