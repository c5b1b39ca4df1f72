"""Papers as data: one TOML file a figure panel, with the published numbers beside it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
