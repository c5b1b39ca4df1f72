"""Whom the explorer serves, and what misuse does to it: through sockets, as a stranger would."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .explorer import COMMAND, Served, served

# Jobs that do what jobs should not; Python imports this file at the start of every process.
TRIALS = """
import subprocess
import sys
import time
import types
from lazyrich._explore import jobs, worker

worker.PATIENCE = 1.0
jobs.PRELOADED.clear()
jobs.JOBS.clear()
trials = types.ModuleType("lazyrich._explore.jobs.trials")
sys.modules[trials.__name__] = trials


def trial(place, is_light=False):
    def keep(function):
        name = function.__name__
        setattr(trials, name, function)
        jobs.JOBS[f"trial.{name}"] = jobs.Job(place, "trials", name, is_light)
        return function
    return keep


@trial("quick")
def echo(args, send, place):
    return args


@trial("quick")
def nap(args, send, place):
    time.sleep(0.05)
    return args


@trial("quick")
def crash(args, send, place):
    raise RuntimeError("two\\nlines \\x1b[2J")


@trial("run")
def after(args, send, place):
    return args


@trial("run")
def steps(args, send, place):
    for step in range(args.get("num", 10_000)):
        send("progress", {"stage": "steps", "fraction": None, "detail": str(step)})
        time.sleep(0.02)
    return {}


@trial("run")
def deaf(args, send, place):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen(["sleep", "1000"], **quiet)
    send("progress", {"stage": "deaf", "fraction": None, "detail": ""})
    time.sleep(1000)


@trial("quick")
def compiles(args, send, place):
    send("progress", {"stage": "compiles", "fraction": None, "detail": ""})
    while not (place.scratch / "compiled").exists():
        time.sleep(0.02)
    return {}


@trial("quick", is_light=True)
def light(args, send, place):
    if args.get("ends"):
        (place.scratch / "compiled").touch()
    return args


@trial("run")
def pour(args, send, place):
    for step in range(args["num"]):
        send("part", {"step": step, "text": "x" * 1_000_000})
    return {"nan": float("nan")}


@trial("quick")
def large(args, send, place):
    return {"text": "x" * 1_000_000}
"""


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> str:
    """A PYTHONPATH with the trial jobs."""
    folder = tmp_path_factory.mktemp("trials")
    (folder / "sitecustomize.py").write_text(TRIALS)
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))


@pytest.fixture(scope="module")
def explorer(trials) -> Iterator[Served]:
    with served(PYTHONPATH=trials) as found:
        yield found


@pytest.fixture(autouse=True)
def lives(explorer):
    """After every misuse the server is the same process, and answers."""
    yield
    assert explorer.process.is_running()
    assert explorer.answer()[0] == 200
    with explorer.tab() as tab:
        assert tab.end(tab.ask("trial.echo", {"a": [1]}))["data"] == {"a": [1]}


# --- Who may ask. ---


def test_only_loopback_is_listened_on(explorer):
    places = [
        connection.laddr
        for process in (explorer.process, *explorer.workers)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    ]
    assert [f"{place.ip}:{place.port}" for place in places] == [explorer.host]


def test_two_tokens_differ_and_have_256_bits(explorer, trials):
    with served(PYTHONPATH=trials) as other:
        assert other.token != explorer.token
    assert len(explorer.token) == 43


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' ws://{0} ws://localhost:{1}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def check_headers(explorer, headers):
    port = explorer.host.split(":")[1]
    assert headers["content-security-policy"] == POLICY.format(explorer.host, port)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert not {key for key in headers if key.startswith("access-control")}
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "path", ["", "static/main.js", "static/style.css", "static/plotly.js", "nothing", "socket"]
)
def test_every_answer_has_the_headers(explorer, path):
    status, headers, text = explorer.answer(path)
    assert status == (404 if path in ("nothing", "socket") else 200)
    assert len(text) > 10
    check_headers(explorer, headers)


def test_the_page_names_nothing_outside(explorer):
    _, headers, page = explorer.answer()
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in page.replace("<!doctype", "")
    assert "<script>" not in page
    assert " style=" not in page
    assert explorer.token not in page


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/x/", "/{short}/", "/{token}x/", "/%2f{token}/", "/x/../{token}/", "//{token}/",
     "/static/main.js", "/favicon.ico", "/{upper}/", "/./{token}/", "/{token};/"],
)  # fmt: skip
def test_a_path_without_the_token_is_refused(explorer, path):
    token = explorer.token
    path = path.format(token=token, short=token[:-1], upper=token.swapcase())
    status, headers, text = explorer.answer_of(path)
    assert status == 403
    assert text == "The address lacks the token: open the one that lazyrich explore printed.\n"
    check_headers(explorer, headers)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost", "127.0.0.1:1", "[::1]:{port}",
     "127.0.0.1:{port}.evil.example", "127.0.0.2:{port}", "0.0.0.0:{port}", "",
     "x@127.0.0.1:{port}"],
)  # fmt: skip
def test_another_host_is_refused(explorer, host):
    host = host.format(port=explorer.host.split(":")[1])
    status, headers, text = explorer.answer(Host=host)
    assert (status, text) == (403, "This address is not the one that lazyrich explore printed.\n")
    check_headers(explorer, headers)
    if host:
        with pytest.raises(InvalidStatus) as refused:
            explorer.tab(additional_headers={"Host": host})
        assert refused.value.response.status_code in (400, 403)


def test_localhost_is_this_host(explorer):
    host = f"localhost:{explorer.host.split(':')[1]}"
    assert explorer.answer(Host=host)[0] == 200
    with explorer.tab(origin=f"http://{host}") as tab:
        assert tab.end(tab.ask("trial.echo"))["event"] == "done"


ORIGINS = ["http://evil.example", "null", "https://{host}", "http://{host}.evil.example",
           "http://127.0.0.1", "http://127.0.0.1:1", "file://", "http://{host}/"]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(explorer, origin, method):
    status, headers, text = explorer.answer("", method, Origin=origin.format(host=explorer.host))
    assert (status, text) == (403, "Pages of other sites may not use the explorer.\n")
    check_headers(explorer, headers)


@pytest.mark.parametrize("origin", [*ORIGINS, None])
def test_a_socket_of_another_origin_is_refused(explorer, origin):
    origin = origin and origin.format(host=explorer.host)
    with pytest.raises(InvalidStatus) as refused:
        explorer.tab(origin=origin)
    answer = refused.value.response
    assert answer.status_code == 403
    assert answer.body == b"Pages of other sites may not use the explorer.\n"
    check_headers(explorer, {key.lower(): value for key, value in answer.headers.raw_items()})


@pytest.mark.parametrize("path", ["/socket", "/x/socket", "/{token}x/socket"])
def test_a_socket_without_the_token_is_refused(explorer, path):
    with pytest.raises(InvalidStatus) as refused:
        explorer.tab(path.format(token=explorer.token))
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_is_written_by_a_request(explorer, method):
    status, headers, _ = explorer.answer("", method)
    assert status == 405
    check_headers(explorer, headers)


# --- Paths. ---

STEPS = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "..;/", "%252e%252e%252f",
         "..%00/", "....//", "/", "%c0%ae%c0%ae/"]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("start", ["", "static/", "static/main.js/"])
def test_no_path_leads_to_a_file(explorer, step, start):
    for target in ("etc/passwd", "page.html", "server.py", "static/page.html"):
        for number in (1, 2, 12):
            status, headers, text = explorer.answer(start + step * number + target)
            assert (status, text) == (404, "There is no such page.\n")
            check_headers(explorer, headers)


def test_a_folder_has_no_listing(explorer):
    for path in ("static", "static/", "static/.", "static/main.js/", "./", "static/page.html"):
        assert explorer.answer(path)[0] == 404


def test_the_slash_may_be_forgotten(explorer):
    status, headers, _ = explorer.answer_of(f"/{explorer.token}")
    assert (status, headers["location"]) == (307, f"/{explorer.token}/")


# --- Messages. ---

MESSAGES: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "should be JSON"),
    "nothing": ("", "should be JSON"),
    "no UTF-8 number": ("NaN", "should be JSON"),
    "infinity": ('{"id": 1, "job": "trial.echo", "args": {"a": Infinity}}', "should be JSON"),
    "deep": ("[" * 100_000, "should be JSON"),
    "digits": (f'{{"id": {"1" * 10_000}}}', "should be JSON"),
    "too large": ('"' + "x" * 1_000_000 + '"', "letters, more than 1,000,000 are not read"),
    "bytes": (b"{}", "should be text"),
    "a list": ([1], "should be a JSON object"),
    "a number": (3, "should be a JSON object"),
    "no id": ({"job": "trial.echo"}, "id = None: should be a whole number"),
    "id of text": ({"id": "1", "job": "trial.echo"}, "id = '1': should be a whole number"),
    "id of a flag": ({"id": True, "job": "trial.echo"}, "id = True: should be"),
    "negative id": ({"id": -1, "job": "trial.echo"}, "id = -1: should be"),
    "large id": ({"id": 2**53, "job": "trial.echo"}, "should be a whole number"),
    "id of a list": ({"id": [1], "job": "trial.echo"}, "should be a whole number"),
    "cancel of text": ({"cancel": "1"}, "cancel = '1': should be a whole number"),
    "cancel and more": ({"cancel": 1, "x": 2}, "id = None"),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_that_is_none_is_one_line(explorer, kind):
    message, words = MESSAGES[kind]
    with explorer.tab() as tab:
        tab.send(message)
        found = tab.event()
        assert (found["id"], found["event"]) == (None, "failed")
        check_line(found["data"]["error"], words)
        assert tab.end(tab.ask("trial.echo"))["event"] == "done"


QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no job": ({}, "job = None: should be a job"),
    "unknown job": ({"job": "trial.ech"}, "should be a job of this version (did you mean"),
    "job of a list": ({"job": ["trial.echo"]}, "should be a job"),
    "job of a path": ({"job": "../../trials.echo"}, "should be a job"),
    "job of a module": ({"job": "os.system"}, "should be a job"),
    "long job": ({"job": "x" * 500_000}, "should be a job"),
    "controls": ({"job": "\x1b[2J\n"}, "should be a job"),
    "args of a list": ({"job": "trial.echo", "args": [1]}, "args = [1]: should be an object"),
    "args of nothing": ({"job": "trial.echo", "args": None}, "args = None: should be an object"),
    "slot of a number": ({"job": "trial.echo", "slot": 3}, "slot = 3: should be a text"),
    "long slot": ({"job": "trial.echo", "slot": "x" * 101}, "at most 100 letters"),
    "another key": ({"job": "trial.echo", "path": "/etc/passwd"}, "path = '/etc/passwd': unknown"),
    "a job that raises": ({"job": "trial.crash"}, "two lines"),
}


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_question_that_is_none_is_one_line(explorer, kind):
    question, words = QUESTIONS[kind]
    with explorer.tab() as tab:
        tab.send({"id": 7} | question)
        found = tab.event()
        assert (found["id"], found["event"]) == (7, "failed")
        check_line(found["data"]["error"], words)


def check_line(error, words):
    assert words in error
    assert error.isprintable()
    assert len(error) < 1000
    assert "Traceback" not in error


def test_a_message_of_many_megabytes_ends_the_socket_alone(explorer):
    with explorer.tab() as tab, explorer.tab() as other:
        with contextlib.suppress(ConnectionClosed):
            tab.send('"' + "x" * 5_000_000 + '"')
        # 1006 where the reason meets what is still being sent.
        assert tab.closed()[0] in (1009, 1006)
        assert other.end(other.ask("trial.echo"))["event"] == "done"


def test_a_number_that_is_taken_is_refused(explorer):
    with explorer.tab() as tab:
        number = tab.ask("trial.steps")
        tab.send({"id": number, "job": "trial.echo"})
        assert "has not ended" in tab.until(None, "failed")["data"]["error"]
        tab.send({"cancel": number})
        assert tab.end(number)["event"] == "cancelled"
        # Of a job that has ended the number is free, and a second cancel means nothing.
        tab.send({"cancel": number})
        tab.send({"id": number, "job": "trial.echo"})
        assert tab.end(number)["event"] == "done"


def test_slots_are_bounded(explorer):
    with explorer.tab() as tab:
        numbers = [tab.ask("trial.steps", slot=f"slot {n}") for n in range(40)]
        refused = [tab.until(number, "failed") for number in numbers[16:]]
        assert all("at most 16 slots" in found["data"]["error"] for found in refused)


# --- Tabs. ---


def test_ten_tabs_are_answered(explorer):
    tabs = [explorer.tab() for _ in range(10)]
    numbers = [tab.ask("trial.nap", {"tab": place}) for place, tab in enumerate(tabs)]
    for place, (tab, number) in enumerate(zip(tabs, numbers, strict=True)):
        assert tab.end(number)["data"] == {"tab": place}
        tab.socket.close()


@pytest.mark.slow
def test_more_tabs_than_fifty_are_told_so(explorer):
    tabs = [explorer.tab() for _ in range(50)]
    with explorer.tab() as one_more:
        assert one_more.closed() == (1013, "50 tabs are open; close some")
    for tab in tabs:
        tab.socket.close()


def test_of_a_flood_the_last_change_is_answered(explorer):
    with explorer.tab() as tab:
        numbers = [tab.ask("trial.nap", {"change": n}, slot="slider") for n in range(600)]
        ends: dict[int, Any] = {}
        while len(ends) < 600:
            found = tab.event()
            if found["event"] in ("done", "stale", "failed", "cancelled"):
                assert found["id"] not in ends
                ends[found["id"]] = found
        done = [number for number in numbers if ends[number]["event"] == "done"]
        assert ends[numbers[-1]]["data"] == {"change": 599}
        assert done[-1] == numbers[-1]
        # One that began is drawn; nearly all are replaced before they begin.
        assert 2 <= len(done) < 100
        assert {found["event"] for found in ends.values()} == {"done", "stale"}


def test_a_newer_run_ends_the_one_before(explorer):
    with explorer.tab() as tab:
        first = tab.ask("trial.steps", slot="run")
        tab.until(first, "progress")
        second = tab.ask("trial.steps", {"num": 3}, slot="run")
        assert tab.end(first)["event"] == "cancelled"
        assert tab.end(second)["event"] == "done"


def test_a_job_that_waits_says_so_and_can_be_cancelled(explorer):
    with explorer.tab() as tab, explorer.tab() as other:
        first = tab.ask("trial.steps")
        tab.until(first, "progress")
        second = other.ask("trial.after")
        assert other.until(second, "waiting")["data"] == {"ahead": 1}
        other.send({"cancel": second})
        assert other.end(second)["event"] == "cancelled"
        tab.send({"cancel": first})
        assert tab.end(first)["event"] == "cancelled"


def test_a_tab_that_closes_ends_its_jobs(explorer):
    with explorer.tab() as other:
        with explorer.tab() as tab:
            tab.until(tab.ask("trial.steps"), "progress")
            tab.ask("trial.steps", slot="next")
            waits = other.ask("trial.after")
            assert other.until(waits, "waiting")["data"] == {"ahead": 2}
        assert other.end(waits)["event"] == "done"


def test_a_browser_that_dies_ends_its_jobs(explorer):
    with explorer.tab() as other:
        tab = explorer.tab()
        tab.until(tab.ask("trial.steps"), "progress")
        # Without a word of the protocol.
        tab.socket.socket.shutdown(socket.SHUT_RDWR)
        assert other.end(other.ask("trial.after"))["event"] == "done"


# --- Workers. ---


def the_worker(explorer, tab, job):
    """The process that computes a job, which is the one whose open log is of that name."""
    (found,) = (
        process
        for process in explorer.workers
        if any(Path(file.path).name == f"{job}.log" for file in process.open_files())
    )
    return found


def test_a_worker_that_is_killed_is_one_line_and_another_comes(explorer):
    with explorer.tab() as tab:
        number = tab.ask("trial.steps")
        tab.until(number, "progress")
        worker = the_worker(explorer, tab, "run")
        worker.kill()
        found = tab.end(number)
        assert found["event"] == "failed"
        check_line(found["data"]["error"], "the process that computed this has ended")
        assert tab.end(tab.ask("trial.after"))["event"] == "done"
        assert the_worker(explorer, tab, "run").pid != worker.pid


def test_a_job_that_does_not_hear_the_cancel_loses_its_process(explorer):
    with explorer.tab() as tab:
        number = tab.ask("trial.deaf")
        tab.until(number, "progress")
        worker = the_worker(explorer, tab, "run")
        (child,) = worker.children()
        tab.send({"cancel": number})
        assert tab.end(number)["event"] == "cancelled"
        assert tab.end(tab.ask("trial.after"))["event"] == "done"
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
        assert ended(child)


def test_a_light_job_does_not_wait_for_one_that_compiles(explorer):
    with explorer.tab() as tab:
        number = tab.ask("trial.compiles")
        tab.until(number, "progress")
        light = tab.ask("trial.light", {"ends": True})
        assert tab.event() == {"id": light, "event": "done", "data": {"ends": True}}
        assert tab.end(number)["event"] == "done"


@pytest.mark.slow
def test_a_page_that_does_not_read_takes_no_memory(explorer):
    before = explorer.process.memory_info().rss
    # 400 MB for a page that reads none of them: the newest are kept.
    with explorer.tab(max_queue=1) as slow:
        number = slow.ask("trial.pour", {"num": 400})
        with explorer.tab() as other:
            assert other.end(other.ask("trial.after"))["event"] == "done"
        assert explorer.process.memory_info().rss - before < 100e6
        found = slow.end(number)
        assert found["data"] == {"nan": None}


@pytest.mark.slow
def test_a_page_that_asks_and_does_not_read_is_given_up(explorer):
    before = explorer.process.memory_info().rss
    with explorer.tab(max_queue=1) as slow, explorer.tab() as other:
        for _ in range(200):
            slow.ask("trial.large", slot="a")
            # Each is asked when the one before has been computed.
            assert other.end(other.ask("trial.echo"))["event"] == "done"
        assert explorer.process.memory_info().rss - before < 200e6
        assert slow.closed()[0] == 1006


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_one_line(tmp_path):
    broken = "from lazyrich._explore import jobs\njobs.PRELOADED[:] = ['absent\\n']\n"
    (tmp_path / "sitecustomize.py").write_text(broken)
    with served(
        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ) as it:
        with it.tab() as tab:
            found = tab.end(tab.ask("tour.list"))
            assert found["event"] == "failed"
            check_line(found["data"]["error"], "the process that computes cannot start: ")
            assert "No module named 'lazyrich.absent" in found["data"]["error"]
        # A page that comes later hears of it, too.
        with it.tab() as tab:
            states = [json.loads(tab.socket.recv(20))["data"] for _ in range(2)]
            assert ("quick", "failed") in {(found["worker"], found["state"]) for found in states}
            assert tab.end(tab.ask("tour.list"))["event"] == "failed"


# --- The command. ---


def failed(*arguments):
    """The line of a command that is refused before anything starts."""
    found = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (found.returncode, found.stdout) == (2, "")
    (line,) = found.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("nothing", None, "should be the folder of a store, or the TOML file of an experiment"),
        ("folder", "folder", "should be the folder of a store"),
        ("text.toml", "a = = 3", "TOML file of an experiment (Invalid value"),
        ("deep.toml", "a = " + "[" * 5000, "nested"),
        ("bytes.toml", b"\xff\xfe", "decode"),
        ("absent.toml", None, "No such file"),
        ("folder.toml", "folder", "is a folder"),
        ("a.nc", b"x", "should be the folder of a store"),
        ("../../etc/passwd", None, "should be the folder of a store"),
    ],
)
def test_another_source_is_one_line(tmp_path, name, content, words):
    place = tmp_path / name
    if content == "folder":
        place.mkdir()
    elif isinstance(content, bytes):
        place.write_bytes(content)
    elif content is not None:
        place.write_text(content)
    line = failed(place)
    assert line.startswith("lazyrich: SOURCE = ")
    assert words in line


def test_a_damaged_store_is_one_line(tmp_path):
    (tmp_path / "store.json").write_text("{")
    assert "should be the folder of a store" in failed(tmp_path)


def test_a_port_in_use_is_one_line(explorer):
    line = failed("--port", explorer.host.split(":")[1])
    assert line.endswith("cannot be used (Address already in use); leave it out for a free one")


TERMINATIONS = (signal.SIGTERM, signal.SIGKILL)


def ended(process):
    """Waits until a process is gone, or is left for its parent to fetch."""
    for _ in range(100):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "how", [signal.SIGINT, *(pytest.param(s, marks=pytest.mark.slow) for s in TERMINATIONS)]
)
def test_the_end_takes_workers_and_files_with_it(trials, tmp_path, how):
    command = [*COMMAND, "--no-browser"]
    variables = {**os.environ, "PYTHONPATH": trials, "TMPDIR": str(tmp_path)}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=variables, **pipes) as process:
        explorer = Served(process)
        with explorer.tab() as tab:
            tab.until(tab.ask("trial.deaf"), "progress")
            (scratch,) = tmp_path.iterdir()
            assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
            workers = explorer.workers
            assert len(workers) == 3  # one of them a process that a job has started
            process.send_signal(how)
            out, err = process.communicate(timeout=20)
            code, _ = tab.closed()
    assert err == ""
    assert all(map(ended, workers))
    assert [*tmp_path.iterdir()] == []
    if how != signal.SIGKILL:
        assert process.returncode == 0
        assert out.splitlines()[-1] == "lazyrich: the explorer has ended"
        assert code == 1012


NOTEBOOK = """
import asyncio
import lazyrich as lr

async def cell():
    lr.explore(open_browser=False)
    print("returned")

asyncio.run(cell())
"""


@pytest.mark.slow
def test_a_notebook_has_an_event_loop_of_its_own(trials):
    variables = {**os.environ, "PYTHONPATH": trials}
    command = [sys.executable, "-c", NOTEBOOK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        explorer = Served(process)
        with explorer.tab() as tab:
            assert tab.end(tab.ask("trial.echo"))["event"] == "done"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-2:] == ["lazyrich: the explorer has ended", "returned"]


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux",
    reason="the browser of this test is a shell script, found by BROWSER and DISPLAY as on Linux",
)
def test_the_browser_is_called_without_the_token(trials, tmp_path):
    # Other users can read the arguments of a process.
    called = tmp_path / "called"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\ncp "${{1#file://}}" {called}.html\necho "$@" > {called}\n')
    browser.chmod(0o700)
    variables = {"BROWSER": f"{browser} %s", "DISPLAY": ":0", "PYTHONPATH": trials}
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}
    ) as process:
        explorer = Served(process)
        for _ in range(100):
            if called.is_file() and called.read_text():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    arguments = called.read_text()
    assert arguments.startswith(f"file://{tempfile.gettempdir()}/lazyrich-explore-")
    assert explorer.token not in arguments
    assert explorer.address in Path(f"{called}.html").read_text()
