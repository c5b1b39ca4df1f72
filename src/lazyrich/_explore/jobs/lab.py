"""Jobs of the Lab."""

from typing import Any

from ... import studies
from ..job import Args, Place, Send


class _Nothing(Args):
    pass


def list_experiments(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The experiments that the Lab can begin with: every panel, and the command's file."""
    del send
    _Nothing.read(args)
    return {"experiments": [{"name": name} for name in studies.names()], "source": place.source}
