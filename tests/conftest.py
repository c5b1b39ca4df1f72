"""Settings every test shares: JAX's default configuration, and no silent promotion of ranks."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

# Compiling takes longer than running here; without these passes it takes less than half.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_llvm_disable_expensive_passes=true --xla_backend_optimization_level=0"
)

import jax
import pytest

from lazyrich._core.compiled import forget_if_much

from .explorer import CHROMIUM, SIZES, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Types are promoted as by default: diffrax mixes them, and some tests call it. Public functions
# are called with strict promotion in test_default_session.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def double():
    """Enables 64-bit types, for a test that itself traces, differentiates or calls diffrax.

    Public functions of lazyrich need no such thing: their tests run as a user's session does.
    """
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def few_maps():
    """As before a simulation, because some modules compile much and simulate nothing."""
    yield
    forget_if_much()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, as the distribution or the user has installed it.

    Of a module, because the event loop of Playwright runs in this thread, where others may not.
    """
    from playwright.sync_api import sync_playwright

    # Without this Chromium refuses to be run by root.
    options = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


@pytest.fixture
def new_page(browser) -> Iterator[Callable[..., Watched]]:
    """Opens pages: the address, a name of `SIZES`, and options of Playwright's contexts.

    After the test no page may have complained in its console.
    """
    opened: list[Watched] = []

    def open_page(address: str, size: str = "wide", **options: Any) -> Watched:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        opened.append(Watched(context.new_page()))
        opened[-1].page.goto(address)
        return opened[-1]

    yield open_page
    complaints = [watched.complaints for watched in opened]
    for watched in opened:
        watched.page.context.close()
    assert not any(complaints), complaints


_NO_BROWSER = "drives Chromium or Chrome, and neither is installed (.ci/run installs Chromium)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out tests that drive a browser where there is none, unless CI requires them."""
    driven = [item for item in items if item.get_closest_marker("browser")]
    if CHROMIUM or not driven:
        return
    if os.environ.get("LAZYRICH_BROWSER") == "required":
        raise pytest.UsageError(f"{len(driven)} tests: {_NO_BROWSER}")
    for item in driven:
        item.add_marker(pytest.mark.skip(reason=_NO_BROWSER))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Counts the tests that were left out for want of a browser."""
    skipped = terminalreporter.stats.get("skipped", [])
    number = sum(_NO_BROWSER in str(report.longrepr) for report in skipped)
    if number:
        terminalreporter.write_line(f"{number} tests left out: {_NO_BROWSER}")
