"""`lazyrich explore`: the local page."""

from pathlib import Path
from typing import Annotated

import typer

HELP = """Serve a page to change, run and compare experiments, until Ctrl-C.

SOURCE is a store (a folder), whose map the page shows, or the TOML file of an experiment. The page
is for you on this machine: the server listens on 127.0.0.1, and its address has a token.

\b
Examples:
  lazyrich explore
  lazyrich explore mine.toml
  lazyrich explore runs --port 8080 --no-browser

Exit codes: 0 ended by Ctrl-C, 1 the server failed, 2 the input is not accepted.
"""


def explore(
    source: Annotated[Path | None, typer.Argument(metavar="SOURCE")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0: a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Serve the explorer; users see `HELP`."""
    from .._explore.explore import explore as serve

    serve(source, port=port, open_browser=browser)
