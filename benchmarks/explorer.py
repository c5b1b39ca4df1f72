"""How long a user of `lazyrich explore` waits, measured in Chromium.

    python benchmarks/explorer.py [--minute 60]

The experiment is panel lyu2024/1a at lab size (n = 100, d = 2,000), after warm-up. Times are those
of the page's own clock, from a change of a control to the second frame after the figure is drawn.
Writes `explorer.json` beside this file and prints the same numbers as a table.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

KEPT = Path(__file__).with_suffix(".json")
COMMAND = [sys.executable, "-m", "lazyrich", "explore", "--no-browser"]
PATIENCE = 180_000  # ms
STARTS, CHANGES, RUNS = 5, 31, 7

# Milliseconds from `change()` to the second frame after the figure is drawn as `shows`.
DRAWN = """
window.drawn = (change, shows) => new Promise((resolve) => {
  const figure = document.getElementById("lab-figure");
  const before = figure.dataset.drawn;
  const begun = performance.now();
  const watch = new MutationObserver(() => {
    if (figure.dataset.drawn === before || figure.dataset.shows !== shows) return;
    watch.disconnect();
    const frame = requestAnimationFrame;
    frame(() => frame(() => resolve(performance.now() - begun)));
  });
  watch.observe(figure, { attributes: true });
  change();
});
window.slide = (place) => {
  const slider = document.getElementById("field-init_scale-slider");
  slider.value = place;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
};
"""

# Changes a slider every 100 ms; returns the moments of the changes and of the figures drawn.
MINUTE = """async (count) => {
  const figure = document.getElementById("lab-figure");
  const draws = [];
  const watch = new MutationObserver(() => draws.push(performance.now()));
  watch.observe(figure, { attributeFilter: ["data-drawn"] });
  const begun = performance.now();
  for (let k = 0; k < count; k++) {
    slide(100 + Math.round(20 * (1 + Math.sin(k / 7))) + (k % 2));
    const next = begun + 100 * (k + 1);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
  }
  const ended = performance.now();
  const before = figure.dataset.drawn;
  slide(131);
  const results = document.getElementById("lab-results");
  while (figure.dataset.drawn === before || results.ariaBusy === "true")
    await new Promise((resolve) => setTimeout(resolve, 20));
  const last = performance.now() - ended;
  watch.disconnect();
  const [scale, decay] = ["init_scale", "weight_decay"].map((key) =>
    Number(document.getElementById("field-" + key).value));
  return { seconds: (ended - begun) / 1000, draws, last, textbook: Math.log(scale) / decay };
}"""


@contextlib.contextmanager
def explorer() -> Iterator[str]:
    """A running explorer: its address."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGINT)


def start(browser: Browser) -> float:
    """Seconds from the command to a page whose controls can be used."""
    begun = time.perf_counter()
    with explorer() as address:
        page = browser.new_page()
        page.goto(address)
        page.locator("#field-init_scale").wait_for(timeout=PATIENCE)
        seconds = time.perf_counter() - begun
        page.close()
    return seconds


class Questions:
    """The forecasts that a page asks for: when each was requested, and how each request ended."""

    def __init__(self, page: Page):
        self.asked: dict[int, float] = {}
        self.ages: list[float] = []
        self.ends: dict[str, int] = {}
        self.most = 0
        page.on("websocket", self._opened)

    def _opened(self, socket: Any) -> None:
        socket.on("framesent", self._sent)
        socket.on("framereceived", self._received)

    def _sent(self, frame: Any) -> None:
        message = json.loads(frame)
        if message.get("job") == "lab.forecast":
            self.asked[message["id"]] = time.perf_counter()
            self.most = max(self.most, len(self.asked))

    def _received(self, frame: Any) -> None:
        message = json.loads(frame)
        if message["event"] in ("done", "stale", "failed", "cancelled"):
            begun = self.asked.pop(message["id"], None)
            if begun is not None:
                self.ends[message["event"]] = self.ends.get(message["event"], 0) + 1
                if message["event"] == "done":
                    self.ages.append(time.perf_counter() - begun)


def calm(page: Page) -> None:
    """Waits until nothing is computed."""
    page.locator("#lab-results[aria-busy=false]").wait_for(timeout=PATIENCE)
    page.wait_for_timeout(500)


def slides(page: Page) -> list[float]:
    """Seconds from a change of the slider for the scale to the forecast on the screen."""
    times = []
    for k in range(CHANGES):
        calm(page)
        place = 100 + (7 * k) % 40
        times.append(page.evaluate(f"drawn(() => slide({place}), 'forecast')") / 1000)
    return times


def runs(page: Page) -> list[float]:
    """Seconds from the press of Run to the first points of its curves on the screen."""
    times = []
    for k in range(RUNS + 1):
        page.evaluate(f"slide({100 + 3 * k})")
        calm(page)
        page.wait_for_timeout(3000)  # The run of this size is compiled meanwhile, once.
        calm(page)
        press = "drawn(() => document.getElementById('lab-run').click(), 'run')"
        times.append(page.evaluate(press) / 1000)
        page.locator("#lab-cancel").wait_for(state="hidden", timeout=PATIENCE)
    return times[1:]


def of(times: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(times), 3),
        "least": round(min(times), 3),
        "most": round(max(times), 3),
        "count": len(times),
    }


def measured(browser: Browser, seconds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    start(browser)
    found["command to controls"] = of([start(browser) for _ in range(STARTS)])
    with explorer() as address:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(DRAWN)
        questions = Questions(page)
        page.goto(address)
        page.locator("#lab-figure[data-shows=forecast]").wait_for(timeout=PATIENCE)
        calm(page)
        page.wait_for_timeout(15_000)  # The run of this size is compiled meanwhile.
        slides(page)
        found["slider to forecast"] = of(slides(page))
        found["run to first curve"] = of(runs(page))
        calm(page)
        questions.ages.clear()
        questions.ends.clear()
        questions.most = 0
        minute = page.evaluate(MINUTE, 10 * seconds)
        calm(page)
        page.wait_for_timeout(1000)
        draws = minute["draws"]
        last = f"(1/λ) log α = {float(format(minute['textbook'], '.3g')):,.10g}"
        gaps = [later - earlier for earlier, later in itertools.pairwise(draws)]
        found["ten changes a second"] = {
            "seconds": round(minute["seconds"], 1),
            "changes": 10 * seconds + 1,
            "figures drawn": len(draws),
            "longest pause between figures, s": round(max(gaps) / 1000, 2),
            "last change to its figure, s": round(minute["last"] / 1000, 2),
            "the last figure is of the last value": last in page.locator("#lab").inner_text(),
            "questions answered": questions.ends.get("done", 0),
            "questions replaced by newer ones": questions.ends.get("stale", 0),
            "questions failed or without end": questions.ends.get("failed", 0)
            + len(questions.asked),
            "most questions open at once": questions.most,
            "age of an answer, s": of(questions.ages),
            "errors of the page": len(complaints),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minute", type=int, default=60, help="seconds of ten changes a second")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    chromium = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))))
    options = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        found = measured(browser, asked.minute)
        browser.close()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before"
    for name, value in found.items():
        print(f"{name}: {value}" if isinstance(value, str) else name)
        for key, number in value.items() if isinstance(value, dict) else ():
            print(f"    {key:36s} {number}")
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
