"""Progress on the terminal, and an immediate end on Ctrl-C."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .files import discard_unfinished


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str, float | None, str], None]]:
    """A line for each stage on stderr, with a bar if the fraction is known."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress(title)
        return
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TimeElapsedColumn(),
        # Estimated from the speed in the last minutes and the remaining records.
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[detail]}"),
    )
    console.print(f"lazyrich: {title}", markup=False, highlight=False)
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def listener(stage: str, fraction: float | None, detail: str) -> None:
            if stage not in tasks:
                for done in tasks.values():
                    bars.update(done, total=1, completed=1)
                    bars.stop_task(done)
                tasks[stage] = bars.add_task(stage, total=None, detail="")
            if fraction is not None:
                bars.update(tasks[stage], total=1, completed=fraction, detail=detail)

        yield listener
        for done in tasks.values():
            bars.update(done, total=1, completed=1)


def _plain_progress(title: str) -> Callable[[str, float | None, str], None]:
    """Progress for a log file: a line at the start of each stage, and at each tenth of it."""
    last: dict[str, int] = {}

    def listener(stage: str, fraction: float | None, detail: str) -> None:
        tenth = int(10 * (fraction or 0.0))
        if tenth > last.get(stage, -1):
            last[stage] = tenth
            amount = f" {10 * tenth} %" if tenth else ""
            amount += f" ({detail})" if detail else ""
            print(f"lazyrich: {title}: {stage}{amount}", file=sys.stderr, flush=True)

    return listener


@contextlib.contextmanager
def sweep_progress(title: str) -> Iterator[Callable[[Any], None]]:
    """A bar of runs on stderr, or lines at each tenth for a log file; also reports errors."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        tenths = [-1]

        def log(now: Any) -> None:
            tenth = 10 * now.num_done // now.num_runs
            if now.note:
                print(f"lazyrich: {title}: {now.note}", file=sys.stderr, flush=True)
            if tenth > tenths[0]:
                tenths[0] = tenth
                words = f"{now.num_done} of {now.num_runs} runs, {now.num_failed} failed"
                print(f"lazyrich: {title}: {words}", file=sys.stderr, flush=True)

        yield log
        return
    columns = (
        TextColumn(f"lazyrich: {title}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("", total=None, left="")

        def show(now: Any) -> None:
            if now.note:
                console.print(f"lazyrich: {now.note}", markup=False, highlight=False)
            left = f"{(now.num_runs - now.num_done) / now.rate:.0f} s left" if now.rate else ""
            bars.update(bar, total=now.num_runs, completed=now.num_done, left=left)

        yield show


_R = TypeVar("_R")


def interruptible(
    work: Callable[[], _R], on_interrupt: Callable[[KeyboardInterrupt], object] | None = None
) -> _R:
    """Runs `work` so that Ctrl-C also works inside compiled code.

    - **Takes** `on_interrupt`, called on Ctrl-C before the process ends.

    A compiled solve does not check for signals, so it runs in a thread and the main thread waits.
    On Ctrl-C the process ends at once. No incomplete file remains, because files are written under
    a temporary name and renamed.
    """
    outcome: list[Any] = []

    def target() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(timeout=0.2)
    except KeyboardInterrupt as interrupt:
        try:
            if on_interrupt is not None:
                on_interrupt(interrupt)
        except BaseException as fault:  # also a second Ctrl-C: the process ends in any case
            words = " ".join(f"{type(fault).__name__}: {fault}".split())
            print(f"\nlazyrich: could not end what watches the run: {words}", file=sys.stderr)
        finally:
            discard_unfinished()
            print("\nlazyrich: interrupted; no incomplete file is left.", file=sys.stderr)
            sys.stderr.flush()
            os._exit(130)
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
