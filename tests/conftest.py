"""Settings every test shares: double precision and no silent promotion of ranks."""

import os

# Compiling takes longer than running here; without these passes it takes less than half.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_llvm_disable_expensive_passes=true --xla_backend_optimization_level=0"
)

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
