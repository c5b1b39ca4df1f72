"""The explorer as its user sees it: the command, and the page in a browser."""

import re
import signal
from collections.abc import Iterator
from importlib import import_module

import pytest

from lazyrich._explore.jobs import JOBS

from .explorer import Served, served


@pytest.mark.parametrize("name", JOBS)
def test_every_job_is_a_function(name):
    job = JOBS[name]
    module = import_module(f"lazyrich._explore.jobs.{job.module}")
    assert callable(getattr(module, job.function))


@pytest.fixture(scope="module")
def explorer() -> Iterator[Served]:
    with served() as found:
        yield found


VIEWS = ["Lab", "Map", "Inside", "Tour"]


def selected(page):
    return page.get_by_role("tab", selected=True).inner_text()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("size", ["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_is_accessible(explorer, new_page, size, scheme):
    opened = new_page(explorer.address, size, color_scheme=scheme)
    page = opened.page
    ready(page)
    for view in VIEWS:
        page.get_by_role("tab", name=view).click()
        page.get_by_role("tabpanel", name=view).wait_for()
        page.wait_for_load_state("networkidle")
        assert selected(page) == view
        assert page.locator("[role=tabpanel]:visible").count() == 1
        assert opened.findings() == []
        assert not opened.is_cut()


def ready(page):
    """Waits until both workers are."""
    from playwright.sync_api import expect

    starting = re.compile("Connecting|Starting")
    expect(page.get_by_role("status")).not_to_have_text(starting, timeout=60_000)


@pytest.mark.browser
def test_tabs_are_chosen_by_keyboard(explorer, new_page):
    page = new_page(explorer.address).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-lab"
    for key, view in [("ArrowRight", "Map"), ("End", "Tour"), ("ArrowRight", "Lab"),
                      ("ArrowLeft", "Tour"), ("Home", "Lab"), ("ArrowRight", "Map")]:  # fmt: skip
        page.keyboard.press(key)
        assert selected(page) == view
        assert page.evaluate("document.activeElement.textContent") == view
    # Only the selected tab is in the order of focus.
    assert page.locator("[role=tab][tabindex='-1']").count() == 3
    page.go_back()
    assert selected(page) == "Lab"


@pytest.mark.browser
def test_the_fragment_is_the_state(explorer, new_page):
    page = new_page(explorer.address + "#inside").page
    assert selected(page) == "Inside"
    page.reload()
    assert selected(page) == "Inside"
    page.evaluate("location.hash = '#nothing?x=1'")
    page.get_by_role("tab", name="Lab", selected=True).wait_for()


@pytest.mark.browser
def test_a_page_whose_server_ends_says_so(new_page):
    with served() as explorer:
        opened = new_page(explorer.address)
        opened.page.get_by_role("status").filter(has_text="Starting").wait_for()
        explorer.process.send_signal(signal.SIGINT)
        status = opened.page.get_by_role("status").filter(has_text="The server has stopped.")
        status.wait_for(timeout=10_000)
    opened.page.wait_for_timeout(600)
    # Attempts to connect again are errors in the console, and nothing else is.
    assert all("ERR_CONNECTION_REFUSED" in text for text in opened.complaints)
    assert opened.complaints
    opened.complaints.clear()
