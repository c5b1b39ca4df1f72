"""Settings every test shares: JAX's default configuration, and no silent promotion of ranks."""

import gc
import os
from pathlib import Path

# Compiling takes longer than running here; without these passes it takes less than half.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_llvm_disable_expensive_passes=true --xla_backend_optimization_level=0"
)

import jax
import pytest

# Types are promoted as by default: diffrax mixes them, and some tests call it. Public functions
# are called with strict promotion in test_default_session.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Every compiled function holds several maps of memory, of which Linux grants a process 65,530;
# past that the compiler crashes.
_MAPS, _MANY_MAPS = Path("/proc/self/maps"), 30_000


@pytest.fixture
def double():
    """Enables 64-bit types, for a test that itself traces, differentiates or calls diffrax.

    Public functions of lazyrich need no such thing: their tests run as a user's session does.
    """
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def few_maps():
    """Forgets what has been compiled once it is much."""
    yield
    if _MAPS.exists() and len(_MAPS.read_bytes().splitlines()) > _MANY_MAPS:
        jax.clear_caches()
        gc.collect()
