"""The explorer: starts the server and opens the page."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .._core.errors import ComputationError, InputError, one_line
from .._core.files import contents, private
from .._core.given import path_of
from .._core.toml import MAX_BYTES, parse_toml

_NEEDED = ("starlette", "uvicorn", "websockets", "plotly", "matplotlib", "jinja2", "distributed")
_MAX_STORE = 2**20
# Seconds in which the server must end.
_MAX_END = 10.0


def explore(
    source: str | os.PathLike[str] | None = None, *, port: int = 0, open_browser: bool = True
) -> None:
    """Serves a page to change, run and compare experiments, until Ctrl-C.

    The page is for this user on this machine: the server listens on 127.0.0.1, and the address,
    which is printed, has a token.

    - **Takes** `source`, the folder of a store, whose map is shown, or the TOML file of an
        experiment; `port`, 0 for a free one.
    - **Raises** [`InputError`][lazyrich.InputError] for another source and for a port that cannot
        be used; [`ComputationError`][lazyrich.ComputationError] without the extra `explore`.
    """
    if not all(map(find_spec, _NEEDED)):
        raise ComputationError("the explorer needs pip install 'lazyrich[explore]'")
    shown = None if source is None else _checked(path_of("SOURCE", source))
    with _listening(port) as listener, _folder() as scratch:
        # The server is imported after the address is printed: the browser can connect already.
        from .security import new_token

        token = new_token()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
        print(f"lazyrich: {address}", flush=True)
        print("lazyrich: open this address in a browser; Ctrl-C ends the explorer", flush=True)
        if open_browser:
            _open(address, scratch)
        _serve(listener, token, shown, scratch)
    print("lazyrich: the explorer has ended", flush=True)


def _checked(path: Path) -> str:
    """The absolute path of a store or a TOML file."""
    accepted = "should be the folder of a store, or the TOML file of an experiment"
    try:
        if path.suffix == ".toml":
            parse_toml(contents(path, MAX_BYTES).decode())
            return str(path.resolve())
        for folder in (path, path / "store"):
            if (folder / "store.json").is_file():
                json.loads(contents(folder / "store.json", _MAX_STORE))
                return str(folder.resolve())
    except (OSError, ValueError, RecursionError) as error:
        words = getattr(error, "strerror", None) or error
        raise InputError("SOURCE", str(path), f"{accepted} ({one_line(words, 200)})") from None
    raise InputError("SOURCE", str(path), accepted)


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    if not 0 <= port < 2**16:
        raise InputError("port", port, "should be from 0 to 65535")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        if os.name == "posix":
            # A port whose last connections are not forgotten yet can be used again.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError as error:
            words = f"cannot be used ({error.strerror}); leave it out for a free one"
            raise InputError("port", port, words) from None
        yield listener


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that only the user can read, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lazyrich-explore-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open(address: str, scratch: Path) -> None:
    """Opens the page, if there is a screen.

    The browser is called with a file, because other users can read the arguments of a process.
    """
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not screen:
        return
    page = scratch / "open.html"
    html = f'<!doctype html><meta http-equiv="refresh" content="0;url={address}">'
    private(page, html.encode())
    threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()


def _serve(listener: socket.socket, token: str, source: str | None, scratch: Path) -> None:
    """Serves in a thread, because a notebook has an event loop of its own, until Ctrl-C."""
    from .server import Explorer

    explorer = Explorer(listener, token, source, str(scratch))
    # An event, because Python 3.11 takes a thread for ended when Ctrl-C interrupts its `join`.
    ended, errors = threading.Event(), []

    def run() -> None:
        try:
            explorer.run()
        except Exception as error:
            errors.append(error)
        finally:
            ended.set()

    with _interrupted():
        threading.Thread(target=run, daemon=True).start()
        try:
            while not ended.wait(timeout=0.2):
                pass
        except KeyboardInterrupt:
            print(flush=True)
        finally:
            explorer.stop()
            with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C waits for nothing
                ended.wait(timeout=_MAX_END)
    if errors:
        raise errors[0]


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt`, if this is the main thread.

    Ctrl-C does not where `asyncio.run` is running, which waits for its own task instead.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
