"""What comes from outside is not trusted: connections, files, sizes."""

import contextlib
import os
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import lazyrich as lr
from lazyrich._execution import crew
from lazyrich._files import discard, opened, replacing

ROOT = Path(__file__).parent.parent


# --- Who may connect. ---


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """Two worker processes, and who listens while they are there."""
    with crew(2, None) as hands:
        hands.client().wait_for_workers(2)
        yield hands


def listening(processes: list[psutil.Process]) -> list[Any]:
    """Addresses that processes listen on, Unix sockets aside."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [c.laddr for c in process.net_connections("inet") if c.status == "LISTEN"]
    return found


def family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def test_a_sweep_listens_on_loopback_and_nowhere_else(two):
    places = listening(family())
    assert {place.ip for place in places} == {"127.0.0.1"}
    # Scheduler, two nannies, two workers: a port each, and none that serves HTTP.
    workers = two.client().scheduler_info()["workers"]
    known = {two.client().scheduler.address, *workers}
    known |= {worker["nanny"] for worker in workers.values()}
    assert {f"tls://127.0.0.1:{place.port}" for place in places} == known
    assert len(places) == 5


def refused(address: str, security: Any) -> BaseException:
    """What a client hears that asks a scheduler, a nanny or a worker who it is."""
    import asyncio

    from distributed.core import rpc

    async def ask() -> None:
        async with rpc(address, connection_args=security, timeout=2) as node:
            await asyncio.wait_for(node.identity(), 5)

    with pytest.raises((OSError, ValueError, ssl.SSLError, TypeError, RuntimeError)) as heard:
        asyncio.run(ask())
    return heard.value


def test_no_port_takes_a_message_without_the_credential(two):
    from distributed import Security

    strangers = Security.temporary()
    for place in listening(family()):
        refused(f"tcp://127.0.0.1:{place.port}", {})
        wrong = strangers.get_connection_args("client")
        refused(f"tls://127.0.0.1:{place.port}", wrong)
    # Those who have it are served.
    info = two.client().run(os.getpid)
    assert len(info) == 2


def test_no_port_answers_http(two):
    import urllib.request
    from http.client import HTTPException

    for place in listening(family()):
        page = f"http://127.0.0.1:{place.port}/info/main/workers.html"
        with pytest.raises((OSError, HTTPException)):
            urllib.request.urlopen(page, timeout=5)


def test_the_credential_is_for_the_user_only(two):
    parents = [p for p in family() if "distributed.cli.dask_worker" in " ".join(p.cmdline())]
    command = parents[0].cmdline()
    for option in ("--tls-ca-file", "--tls-cert", "--tls-key"):
        place = Path(command[command.index(option) + 1])
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    # Command lines and environments, which others may read, have no key in them.
    for process in family()[1:]:
        assert "PRIVATE KEY" not in " ".join(process.cmdline())
        assert "PRIVATE KEY" not in str(process.environ())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://10.0.0.1:8786", r"has no TLS.*insecure\+tcp://10\.0\.0\.1:8786"),
        ("10.0.0.1:8786", r"has no TLS"),
        ("ws://example.org:80", r"has no TLS"),
        ("tcp://localhost.example.org:8786", r"has no TLS"),
        ("tls://10.0.0.1:8786", r"DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
    ],
)
def test_a_scheduler_beyond_this_machine_needs_tls(address, words, tmp_path):
    with pytest.raises(lr.InputError, match=words) as error:
        lr.sweep(small(), {"seed": [0, 1]}, tmp_path / "s", scheduler=address)
    assert "\n" not in str(error.value)


def small(**fields: Any) -> lr.Experiment:
    task = lr.tasks.SparseClassification(n=8, d=16, num_test=8)
    return lr.Experiment(task=task, t1=1.0, **fields)


# --- Writing. ---


def test_files_have_the_permissions_that_the_user_gives_new_ones(tmp_path):
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            with replacing(tmp_path / "x") as path:
                path.write_text("1")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask


def test_the_umask_is_left_alone(tmp_path, monkeypatch):
    # A reader would change it for as long as it takes, for every thread of the process.
    def never(mask: int) -> int:
        raise AssertionError("the umask was set")

    monkeypatch.setattr(os, "umask", never)
    with replacing(tmp_path / "x") as path:
        path.write_text("1")
    lr.sweep(small(), {"seed": [0]}, tmp_path / "s", workers=0)
    lr.consolidate(tmp_path / "s", tmp_path / "s.zarr")
    assert (tmp_path / "s.zarr").is_dir()


def test_threads_that_write_one_file_do_each_other_no_harm(tmp_path):
    place, errors = tmp_path / "x.txt", []

    def write(text: str) -> None:
        try:
            for _ in range(50):
                with replacing(place) as path:
                    path.write_text(text * 1000)
                discard(tmp_path / "other.txt")
                assert place.read_text() in ("a" * 1000, "b" * 1000)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


WRITER = """
import sys
from pathlib import Path
from lazyrich._files import replacing
with replacing(Path(sys.argv[1])) as path:
    path.write_text("half")
    print(path, flush=True)
    sys.stdin.readline()
    path.write_text("whole")
"""


def test_only_what_the_dead_left_is_removed(tmp_path):
    place = tmp_path / "checkpoint.npz"
    command = [sys.executable, "-c", WRITER, str(place)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, cwd=ROOT, **pipes) as living,
        subprocess.Popen(command, cwd=ROOT, **pipes) as dying,
    ):
        theirs = [Path(process.stdout.readline().strip()) for process in (living, dying)]
        assert theirs[0] != theirs[1]
        dying.kill()
        dying.wait()
        # What a process on another machine writes is not known to be dead.
        elsewhere = tmp_path / f".{place.name}.0123abcd-{dying.pid}-feed.npz"
        elsewhere.touch()
        discard(place)
        assert theirs[0].exists()
        assert not theirs[1].exists()
        assert elsewhere.exists()
        living.communicate("\n", timeout=20)
    assert place.read_text() == "whole"


# --- Reading. ---


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"no ordinary file|is a folder"):
            opened(path)
