"""What comes from outside is not trusted: connections, files, sizes."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import shutil
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import h5py
import jax.random as jr
import numpy as np
import psutil
import pytest

import lazyrich as lr
from lazyrich._core import room as _room
from lazyrich._core.files import discard, opened, replacing
from lazyrich._core.npz import archive
from lazyrich.cli.settings import resolve_row
from lazyrich.experiments.sizes import check_fits
from lazyrich.sweeps import Sweep, parse_axes
from lazyrich.sweeps._execution import suggested_size, take_environment, worker_pool, workers
from lazyrich.sweeps._execution.workers import checked_address, connected
from lazyrich.sweeps._store.sealed import seal, unseal

ROOT = Path(__file__).parent.parent


# --- Who may connect. ---


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """Two worker processes, and who listens while they are there."""
    with worker_pool(2, None) as pool:
        pool.client().wait_for_workers(2)
        yield pool


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


def test_a_cluster_brings_its_credential():
    from distributed import LocalCluster, Security

    security = Security.temporary()
    with (
        LocalCluster(
            n_workers=0, host="127.0.0.1", protocol="tls://", security=security,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        connected(cluster, 0) as (client, _),
    ):  # fmt: skip
        assert client.scheduler_info()["address"] == cluster.scheduler_address
    # For an address alone the credential is in dask's configuration, or it is none.
    assert checked_address("insecure+tcp://10.0.0.1:8786", Security()) == "tcp://10.0.0.1:8786"
    assert checked_address("tls://10.0.0.1:8786", security) == "tls://10.0.0.1:8786"
    for here in ("tcp://127.0.0.1:8786", "tcp://[::1]:8786", "localhost:8786", "inproc://x/1/1"):
        assert checked_address(here, Security()) == here


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


@pytest.mark.slow
def test_the_umask_is_left_alone(whole, tmp_path, monkeypatch):
    # A reader would change it for as long as it takes, for every thread of the process.
    def never(mask: int) -> int:
        raise AssertionError("the umask was set")

    monkeypatch.setattr(os, "umask", never)
    with replacing(tmp_path / "x") as path:
        path.write_text("1")
    lr.consolidate(whole, tmp_path / "s.zarr")
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
from lazyrich._core.files import replacing
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
        outputs: list[Any] = [living.stdout, dying.stdout]
        theirs = [Path(output.readline().strip()) for output in outputs]
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


def test_an_archive_of_everything_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    held: dict[str, Any] = {
        "a": rng.standard_normal((3, 4)).astype(">f4"),
        "b": np.asfortranarray(rng.integers(0, 9, (2, 3, 4)).astype(np.int8)),
        "c": np.array("text"),
        "d": np.zeros((0, 5)),
        "e": np.float64(1.5),
    }
    for name, save in (("plain", np.savez), ("packed", np.savez_compressed)):
        place = tmp_path / f"{name}.npz"
        save(place, **held)
        with opened(place) as file, archive(file) as kept:
            assert kept.names == list(held)
            for key, value in held.items():
                found = kept.read(key)
                assert found.dtype == np.asarray(value).dtype
                np.testing.assert_array_equal(found, value)


def header_of(shape: str, descr: str = "<f8", length: int | None = None) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust(117) + b"\n"
    num = len(text) if length is None else length
    return b"\x93NUMPY\x01\x00" + num.to_bytes(2, "little") + text


def zipped(entry: bytes, kind: int = zipfile.ZIP_DEFLATED, name: str = "x_train.npy") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as file:
        file.writestr(name, entry)
        for other in ("y_train", "x_test", "y_test"):
            file.writestr(f"{other}.npy", header_of("(1,)") + bytes(8))
    return packed.getvalue()


def bomb() -> bytes:
    """Eight gigabytes of nothing in eight megabytes, written in a second or two."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("x_train.npy", "w", force_zip64=True) as entry:
            entry.write(header_of("(100_000_000,)".replace("_", "")))
            for _ in range(100):
                entry.write(bytes(8_000_000))
        for other in ("y_train", "x_test", "y_test"):
            file.writestr(f"{other}.npy", header_of("(1,)") + bytes(8))
    return packed.getvalue()


def many_names() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for number in range(30_000):
            file.writestr(f"{number}.npy", b"")
    return packed.getvalue()


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "huge shape": (lambda: zipped(header_of("(10000000000, 9)") + bytes(64)),
                   r"720,000,000,000 bytes, but has 64"),
    "shape beyond 64 bits": (lambda: zipped(header_of(f"({10**13}, {10**13})")), r"but has 0"),
    "negative shape": (lambda: zipped(header_of("(-1,)")), r"shape \(-1,\) of no array"),
    "no bytes an entry": (lambda: zipped(header_of("(1000000000000,)", "|V0")), r"of no array"),
    "objects": (lambda: zipped(header_of("(1,)", "|O") + bytes(8)), r"Python objects"),
    "a bomb": (bomb, r"800,000,000 bytes, which are packed in"),
    "a long header": (lambda: zipped(header_of("(1,)", length=60_000) + bytes(60_000)),
                      r"header of 60,000 bytes"),
    "a header of code": (lambda: zipped(header_of("__import__('os')") + bytes(8)), r"\.npz"),
    "a nested header": (lambda: zipped(header_of("(" * 50 + "1" + ",)" * 50) + bytes(8)), r"\.npz"),
    "packed otherwise": (lambda: zipped(header_of("(1,)") + bytes(8), zipfile.ZIP_LZMA),
                         r"method that \.npz"),
    "many names": (many_names, r"directory has more than"),
    "no arrays": (lambda: zipped(b"", name="z.npy"), r"lacks x_train"),
    "cut": (lambda: zipped(header_of("(4,)") + bytes(32))[:-30], r"\.npz"),
    "empty": (lambda: b"", r"\.npz"),
    "text": (lambda: b"x_train" * 100, r"\.npz"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_believed_in_nothing(kind, tmp_path):
    make, words = ARCHIVES[kind]
    place = tmp_path / "a.npz"
    place.write_bytes(make())
    before = psutil.Process().memory_info().rss
    with pytest.raises(lr.InputError, match=words) as error:
        lr.tasks.Arrays.load(place)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert psutil.Process().memory_info().rss - before < 2**28


TEXTS: dict[str, str] = {
    "nested lists": "seed = " + "[" * 100_000,
    "nested tables": "a = " + "{a = " * 30_000,
    "a dotted key": ".".join("a" * 100_000) + " = 1",
    "a quoted dotted key": '"a".' * 50_000 + "a = 1",
    "a nested header": "[" + ".".join("a" * 100_000) + "]",
    "digits": "seed = " + "1" * 5000,
    "a long name": f'name = "{"x" * 10_000_000}"',
    "a name of 200,000": f'name = "{"x" * 200_000}"',
    "controls in a name": 'name = "\\u001b[2J\\u0007"',
    "many keys": "".join(f"a{i} = 1\n" for i in range(10_000)),
    "no text": "\udcff",
    "endless": "a = '''" + "x" * 100_000,
    "a list of tables": "[[task]]\n" * 10_000,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_are_bounded(kind, tmp_path):
    place = tmp_path / "e.toml"
    place.write_bytes(TEXTS[kind].encode(errors="surrogateescape"))
    with pytest.raises(lr.InputError) as error:
        lr.Experiment.load(place)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 2600


# --- Stores. ---

OVER: dict[str, Any] = {"init_scale": [1.0, 3.0], "seed": [0, 1, 2]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store of three files of two runs each."""
    place = tmp_path_factory.mktemp("whole") / "s"
    experiment = small(times=lr.dynamics.Times(num_log=4, num_linear=2))
    lr.sweep(experiment, OVER, place, workers=0, batch_size=2)
    return place


def resealed(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """A file whose summary says something else, with checksums as they should be."""
    payload, summary = unseal(path.read_bytes())
    change(summary)
    path.write_bytes(seal(payload, summary))


def rebuilt(path: Path, change: Callable[[Any], Any]) -> None:
    """A file whose content is something else, likewise."""
    payload, summary = unseal(path.read_bytes())
    content = io.BytesIO(payload)
    with h5py.File(content, "r+") as file:
        change(file)
    path.write_bytes(seal(content.getvalue(), summary))


def said(key: str, value: Any) -> Callable[[Path], None]:
    return lambda path: resealed(path, lambda summary: summary.update({key: value}))


def replaced(name: str, **how: Any) -> Callable[[Path], None]:
    def change(file: Any) -> None:
        del file[name]
        file.create_dataset(name, **how)

    return lambda path: rebuilt(path, change)


def linked(path: Path) -> None:
    def change(file: Any) -> None:
        del file["time"]
        file["time"] = h5py.ExternalLink(str(path), "time")

    rebuilt(path, change)


def about(path: Path, **named: Any) -> None:
    def change(file: Any) -> None:
        file.attrs["about"] = json.dumps({**json.loads(file.attrs["about"]), **named})

    rebuilt(path, change)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def foldered(path: Path) -> None:
    path.unlink()
    path.mkdir()


def sparse(path: Path) -> None:
    """A terabyte, of which nothing is there but the end."""
    data = path.read_bytes()
    with path.open("wb") as file:
        file.seek(2**40)
        file.write(data)


def swollen(path: Path) -> None:
    """A file of many curves: with room for them in all runs, the others would not fit."""
    names = [f"c{i}" for i in range(4000)]

    def change(file: Any) -> None:
        del file["curves"]
        shape = (2, len(names), file["time"].shape[1])
        file.create_dataset("curves", data=np.zeros(shape))

    rebuilt(path, change)
    resealed(path, lambda summary: summary.update(curves=names))


FILES: dict[str, Callable[[Path], object]] = {
    "records beyond the file": said("num_records", 10**12),
    "records beyond a file without curves": lambda path: resealed(
        path, lambda summary: summary.update(curves=[], num_records=10**12)
    ),
    "records below zero": said("num_records", -1),
    "records as text": said("num_records", "7"),
    "records as truth": said("num_records", True),
    "numbers as a text": said("numbers", "t50"),
    "a reserved name": said("numbers", ["outcome"]),
    "a name of a megabyte": said("curves", ["x" * 1_000_000]),
    "a name that acts": said("curves", ["\x1b[2J"]),
    "a swept key as a name": said("curves", ["init_scale"]),
    "a million names": said("numbers", [f"n{i}" for i in range(100_000)]),
    "one name twice": said("numbers", ["a", "a"]),
    "hashes that are none": said("hashes", ["../../etc/passwd", "0" * 64]),
    "hashes as numbers": said("hashes", [1, 2]),
    "no hashes": said("hashes", []),
    "hashes that are nothing": said("hashes", None),
    "fewer hashes": said("hashes", ["0" * 64]),
    "seconds without end": said("seconds", float("inf")),
    "seconds as a table": said("seconds", {}),
    "outcomes as a list": said("outcomes", []),
    "outcomes without end": said("outcomes", {"grokked": 10**30}),
    "a format of tables": said("format", {"a": 1}),
    "a later format": said("format", 10**6),
    "another's name": said("name", "\x1b]0;title\x07"),
    "a shape without data": replaced("curves", shape=(10**9, 1, 9), dtype="f8", chunks=(1, 1, 1)),
    "packed": replaced("numbers", data=np.zeros((2, 5000)), compression="gzip"),
    "codes beyond the words": replaced("outcome", data=np.array([100, 0], np.int8)),
    "codes below zero": replaced("outcome", data=np.array([-1, 0], np.int8)),
    "texts for times": replaced("time", data=np.array([["a"]], dtype=h5py.string_dtype())),
    "a link to a file": linked,
    "environment as a list": lambda path: about(path, environment=[1]),
    "changes as a text": lambda path: about(path, changes="seed"),
    "nested": lambda path: rebuilt(path, lambda file: file.attrs.update(about="[" * 50_000)),
    "no payload": lambda path: path.write_bytes(seal(b"", unseal(path.read_bytes()).summary)),
    "a nested summary": lambda path: path.write_bytes(badly_sealed(b"[" * 100_000)),
    "a summary of a list": lambda path: path.write_bytes(badly_sealed(b"[1]")),
    "a pipe": piped,
    "a terabyte": sparse,
    "a folder": foldered,
    "many curves": swollen,
}  # fmt: skip


def badly_sealed(text: bytes) -> bytes:
    body = text + struct.pack("<Q", len(text))
    body += hashlib.sha256(body).digest()
    return body + hashlib.sha256(body).digest() + b"lazyrich"


@pytest.mark.parametrize("kind", FILES)
def test_one_hostile_file_does_not_stop_the_others(kind, whole, tmp_path):
    store = tmp_path / "s"
    shutil.copytree(whole, store)
    _, hostile, _ = sorted((store / "batches").iterdir())
    FILES[kind](hostile)
    begun, before = time.monotonic(), psutil.Process().memory_info().rss
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = lr.open_store(store)
        (state,) = lr.status(store)
    lines = [str(warning.message) for warning in caught]
    # A pipe or a folder is no file of the store's: nothing is there.
    if kind not in ("a pipe", "a folder", "many curves"):
        assert len(lines) == 1, lines
        assert hostile.name in lines[0]
    assert all(line.isprintable() and len(line) < 3000 for line in lines)
    assert all(how.isprintable() for how in state.damaged.values())
    others = found["outcome"].values[:, [0, 2]]
    assert "missing" not in others
    if kind != "many curves":
        assert (found["outcome"] == "missing").sum() == 2
    assert 4 <= state.num_done <= 6
    assert time.monotonic() - begun < 20
    assert psutil.Process().memory_info().rss - before < 2**29


@pytest.mark.slow
def test_a_hostile_sweep_does_not_stop_the_others(whole, tmp_path):
    store = tmp_path / "s"
    shutil.copytree(whole, store)
    (good,) = (store / "sweeps").iterdir()
    text = good.read_text()
    rows = [[number] for number in range(8, 3000)]
    for number, bad in enumerate(
        [
            "a = " + "[" * 100_000,
            text.replace('kind = "SparseClassification"', 'kind = "Arrays"\npath = "/etc/passwd"'),
            text.replace("batch_size = 2", "batch_size = -1"),
            "sha256 = 1\nbatch_size = 2\naxes = [1]\nexperiment = 2",
            text + "".join(f'[[axes]]\nkeys = ["task.{k}"]\npoints = {rows}\n' for k in "nd"),
        ]
    ):  # fmt: skip
        (store / "sweeps" / f"{number:016x}.toml").write_text(bad)
    os.mkfifo(store / "sweeps" / f"{9:016x}.toml")
    (store / "running").mkdir(exist_ok=True)
    for number, heartbeat in enumerate(
        ["[" * 100_000, '{"sweep": 1, "rate": NaN, "running": [], "time": 1e999}', "null", "[]",
         json.dumps({"sweep": good.stem, "rate": "x" * 10**6, "running": {}, "time": 0})]
    ):  # fmt: skip
        (store / "running" / f"{number}.json").write_text(heartbeat)
    with pytest.warns(UserWarning, match="is damaged") as caught:
        states = lr.status(store)
    assert [state.num_done for state in states if state.sweep == good.stem] == [6]
    with pytest.warns(UserWarning, match="is damaged"):
        found = lr.open_store(store)
    assert "missing" not in found["outcome"]
    assert all(str(warning.message).isprintable() for warning in caught)
    out = tmp_path / "out.zarr"
    with pytest.warns(UserWarning, match="is damaged"):
        lr.consolidate(store, out)
    assert out.is_dir()


ENVIRONMENTS: list[tuple[dict[str, str], str]] = [
    ({"LD_PRELOAD": "/tmp/x.so"}, r"^environment\.LD_PRELOAD = .*accepted are XLA_FLAGS"),
    ({"PYTHONPATH": "/tmp"}, r"^environment\.PYTHONPATH"),
    ({"TPU_LIBRARY_PATH": "/tmp/x.so"}, r"^environment\.TPU_LIBRARY_PATH"),
    ({"XLA_FLAGS": "--xla_dump_to=/tmp/x"}, r"^environment\.XLA_FLAGS = .*set XLA_FLAGS yourself"),
    ({"XLA_FLAGS": "/tmp/flags"}, r"^environment\.XLA_FLAGS"),
    ({"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_dump_to=/tmp"}, r"XLA_FLAGS"),
    ({"XLA_FLAGS": "--xla_backend_optimization_level=9"}, r"XLA_FLAGS"),
    ({"OMP_NUM_THREADS": "1\n2"}, r"OMP_NUM_THREADS"),
    ({"PJRT_NPROC": "10000000000"}, r"PJRT_NPROC"),
    ({"JAX_PLATFORMS": "evil"}, r"JAX_PLATFORMS"),
]  # fmt: skip


@pytest.mark.parametrize(("named", "words"), ENVIRONMENTS)
def test_a_file_sets_nothing_but_what_is_known(named, words, whole, tmp_path):
    store = tmp_path / "s"
    shutil.copytree(whole, store)
    path, *_ = sorted((store / "batches").iterdir())
    about(path, environment=named)
    before = dict(os.environ)
    with pytest.raises(lr.InputError, match=words):
        resolve_row(str(path), 0)
    assert dict(os.environ) == before


def test_a_file_sets_what_this_library_writes(monkeypatch):
    names = ("XLA_FLAGS", "PJRT_NPROC", "OMP_NUM_THREADS", "JAX_PLATFORMS", "TF_OTHER")
    for name in names:
        monkeypatch.setenv(name, "x")
    named = {"XLA_FLAGS": f" {workers.ENVIRONMENT['XLA_FLAGS']}", "PJRT_NPROC": "1",
             "OMP_NUM_THREADS": "16", "JAX_PLATFORMS": "cuda,cpu"}  # fmt: skip
    take_environment(named)
    assert {key: os.environ[key] for key in named} == named
    # What the user has set already is the user's.
    take_environment({"TF_OTHER": "x"})


@pytest.mark.slow
def test_records_are_believed_in_nothing(tmp_path):
    record = lr.simulate(small(times=lr.dynamics.Times(num_log=4, num_linear=2)))
    good = tmp_path / "r.nc"
    lr.save_record(record, good)
    assert lr.open_record(good).identical(record)

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout(shape=(10**9,), dtype="f8")
        layout[:5] = h5py.VirtualSource(str(good), "time", shape=(5,))
        file.create_virtual_dataset("v", layout)

    changes: list[Callable[[Any], Any]] = [
        lambda file: file.create_dataset("big", shape=(10**12,), dtype="f8"),
        lambda file: file.create_dataset("big", shape=(10**6,), dtype="f8", chunks=(10**5,)),
        lambda file: file.create_dataset("z", data=np.zeros(10**6), compression="gzip"),
        lambda file: file.__setitem__("l", h5py.ExternalLink(str(good), "time")),
        lambda file: file.create_group("g"),
        virtual,
    ]
    for number, change in enumerate(changes):
        place = tmp_path / f"{number}.nc"
        shutil.copy(good, place)
        with h5py.File(place, "r+") as file:
            change(file)
        with pytest.raises(lr.InputError, match="record's netCDF file") as error:
            lr.open_record(place)
        assert str(error.value).isprintable()
    os.mkfifo(tmp_path / "pipe.nc")
    with pytest.raises(lr.InputError, match="no ordinary file"):
        lr.open_record(tmp_path / "pipe.nc")


# --- Sizes. ---

FLOW = lr.dynamics.Flow()
SIZES: list[tuple[dict[str, Any], str]] = [
    ({"task.n": 10**9, "task.d": 100}, "task.n"),
    ({"task.d": 10**13}, "task.d"),
    ({"task.num_test": 10**12}, "task.num_test"),
    ({"times.num_log": 2 * 10**9}, "times.num_log"),
    ({"times.num_linear": 10**12}, "times.num_linear"),
    # With the default number of test samples, outputs at all times are the largest part.
    ({"times.num_log": 2 * 10**9, "task.num_test": 10_000}, "times.num_log"),
    ({"times.num_linear": 10**9, "task.num_test": 10_000}, "times.num_linear"),
    ({"times.num_log": 10**6, "task.num_test": 10**9}, "task.num_test"),
    ({"model": lr.models.MLP(widths=(10**9, 10**9)), "dynamics": FLOW}, "model.widths"),
    ({"model": lr.models.CommitteeMachine(width=10**12), "dynamics": FLOW}, "model.width"),
    ({"task": lr.tasks.ModularArithmetic(p=10007), "model": lr.models.MLP(outputs=10007),
      "loss": lr.losses.CrossEntropy(), "dynamics": FLOW}, "task.p"),
    ({"task": lr.tasks.StudentTeacher(widths=(10**7, 10**7)), "model": lr.models.MLP(outputs=5),
      "loss": lr.losses.Squared(), "dynamics": FLOW}, "task.widths"),
    ({"task": lr.tasks.KernelEigenvector(n=10**6), "model": lr.models.MLP(),
      "loss": lr.losses.Squared(), "dynamics": FLOW}, "task.n"),
    ({"task": lr.tasks.MatrixCompletion(d=10**7), "loss": lr.losses.Squared(),
      "model": lr.models.MatrixFactorisation(size=10**7), "dynamics": FLOW}, "task.d"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key"), SIZES)
def test_what_cannot_fit_is_refused_with_its_bytes(changes, key):
    experiment = small().with_changes(changes)
    for use in (lr.simulate, suggested_size):
        before = psutil.Process().memory_info().rss
        with pytest.raises(
            lr.InputError, match=rf"^{key} = .*takes [\d.]{{1,4}} [MGTPE]iB of "
        ) as error:
            use(experiment)
        assert str(error.value).isprintable()
        assert psutil.Process().memory_info().rss - before < 2**28


@pytest.mark.slow
def test_sizes_are_those_of_the_data(monkeypatch):
    # What a task says of itself, beside what it yields.
    for task in (
        lr.tasks.SparseClassification(n=7, d=9, num_test=600),
        lr.tasks.SeparatedClassification(n=7, d=9, num_test=600),
        lr.tasks.SparseRegression(n=7, d=9, num_test=600),
        lr.tasks.PolynomialRegression(n=7, d=9, num_test=11),
        lr.tasks.KernelEigenvector(n=7, d=9, num_test=11),
        lr.tasks.StudentTeacher(n=7, d=9, num_test=11),
        lr.tasks.MatrixCompletion(d=9, num_observed=20),
        lr.tasks.ModularArithmetic(p=7),
    ):
        sizes, split = task.sizes(), task.sample(jr.key(0))
        assert (sizes.num_train, sizes.dim) == split.train.x.shape
        assert sizes.num_bytes == split.train.x.dtype.itemsize, task
        blocks = list(split.test)
        assert sizes.num_test == sum(len(block.x) for block in blocks)
        assert max(len(block.x) for block in blocks) <= sizes.block
    # Half of the memory that it needs is not enough, and twice is.
    task = lr.tasks.SparseClassification(n=1000, d=1000, num_test=8)
    monkeypatch.setattr(_room, "available", lambda: 500_000)
    with pytest.raises(lr.InputError, match=r"^task\.[nd] = 1000: takes"):
        check_fits(lr.Experiment(task=task, t1=1.0))
    monkeypatch.setattr(_room, "available", lambda: 2_000_000)
    check_fits(lr.Experiment(task=task, t1=1.0))


@pytest.mark.slow
def test_more_values_than_a_sweep_can_have_are_refused():
    for over in ("seed=range:1000000000", "init_scale=log:1:10:1000000000000"):
        with pytest.raises(lr.InputError, match="more than 1,000,000"):
            parse_axes([over], [])
    points = list(range(3, 3003))
    with pytest.raises(lr.InputError, match="shapes of runs"):
        Sweep.over(small(), {"task.n": points[:150], "task.d": points[:150]})
    with pytest.raises(lr.InputError, match="at most 4,000,000"):
        Sweep.over(small(), {"seed": points, "init_scale": [float(p) for p in points]})
    with pytest.raises(lr.InputError, match="from 1 to"):
        lr.sweeps.sobol({"init_scale": (1, 10)}, 10**12)


# --- The command line. ---

LINES = """
import contextlib, io, json, pathlib, sys, time
import lazyrich as lr
from lazyrich.cli import main
lr.Experiment, lr.open_store, lr.sweep  # what every command brings in is not the file's doing
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["lazyrich", *arguments]
    said, begun, code = io.StringIO(), time.process_time(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    # The peak that getrusage gives is at least the memory of the process that started this one.
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    print(json.dumps([code, said.getvalue(), time.process_time() - begun, peak]), flush=True)
"""


@pytest.mark.battery
def test_every_hostile_file_is_one_line_of_the_command_line(whole, tmp_path):
    lines: list[list[str]] = []
    for number, (make, _) in enumerate(ARCHIVES.values()):
        (tmp_path / f"a{number}.npz").write_bytes(make())
        toml = f'[task]\nkind = "Arrays"\npath = "a{number}.npz"\n'
        (tmp_path / f"a{number}.toml").write_text(toml)
        lines.append(["run", str(tmp_path / f"a{number}.toml"), "--out", str(tmp_path / "out")])
    for number, text in enumerate(TEXTS.values()):
        place = tmp_path / f"t{number}.toml"
        place.write_bytes(text.encode(errors="surrogateescape"))
        lines.append(["run", str(place), "--out", str(tmp_path / "out")])
    for number, change in enumerate(FILES.values()):
        store = tmp_path / f"s{number}"
        shutil.copytree(whole, store)
        _, hostile, _ = sorted((store / "batches").iterdir())
        change(hostile)
        lines.append(["run", str(hostile), "--row", "7", "--out", str(tmp_path / "out")])
    os.mkfifo(tmp_path / "pipe.toml")
    lines.append(["run", str(tmp_path / "pipe.toml")])
    refused_so = len(lines)
    # One bad file of a store is a line, and the command is done.
    for number in range(len(FILES)):
        lines.append(["status", str(tmp_path / f"s{number}")])
    done = subprocess.run(
        [sys.executable, "-c", LINES, json.dumps(lines)], cwd=ROOT, text=True,
        capture_output=True, check=True, timeout=570,
    )  # fmt: skip
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert len(rows) == len(lines)
    for (code, said, seconds, peak), arguments in zip(rows, lines, strict=True):
        assert code == (2 if lines.index(arguments) < refused_so else 0), (arguments, said)
        assert len(said.splitlines()) <= 1, (arguments, said)
        assert said.strip().isprintable()
        assert seconds < 5, (arguments, seconds)
        assert peak < 1024, (arguments, peak)
    assert not (tmp_path / "out").exists()
