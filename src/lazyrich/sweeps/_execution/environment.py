"""The environment variables that runs depend on, and those that a file may set."""

import os
import re
from collections.abc import Callable

from ..._core.errors import InputError

_TRUE_OR_FALSE = re.compile("true|false|0|1").fullmatch
_DIGIT = re.compile("[0-4]").fullmatch
# Flags that only change how numbers are computed: none names a file or a program.
_FLAGS: dict[str, Callable[[str], object]] = {
    "--xla_cpu_multi_thread_eigen": _TRUE_OR_FALSE,
    "--xla_cpu_enable_fast_math": _TRUE_OR_FALSE,
    "--xla_llvm_disable_expensive_passes": _TRUE_OR_FALSE,
    "--xla_backend_optimization_level": _DIGIT,
    "--xla_gpu_deterministic_ops": _TRUE_OR_FALSE,
    "--xla_gpu_autotune_level": _DIGIT,
    "--xla_force_host_platform_device_count": re.compile("[1-9][0-9]?").fullmatch,
}


def _known_flags(text: str) -> bool:
    pairs = [flag.partition("=") for flag in text.split()]
    return all(name in _FLAGS and _FLAGS[name](value) for name, _, value in pairs)


_COUNT = re.compile("[1-9][0-9]{0,3}").fullmatch
# Variables, other than versions and machine, on which the last bits of a run depend.
ENVIRONMENT: dict[str, Callable[[str], object]] = {
    "XLA_FLAGS": _known_flags,
    "PJRT_NPROC": _COUNT,
    "OMP_NUM_THREADS": _COUNT,
    "JAX_PLATFORMS": re.compile("(?:(?:cpu|gpu|cuda|rocm|tpu),?)*").fullmatch,
}


def take_environment(named: dict[str, str]) -> None:
    """Sets the environment variables that a batch's file gives for its runs.

    A file from another source could name a library to be loaded. Keys that this library does not
    write, and values beyond those that it needs, are refused, unless the user has already set
    the same value.

    - **Raises** [`InputError`][lazyrich.InputError] before any variable is set.
    """
    for key, value in named.items():
        known = key in ENVIRONMENT
        if os.environ.get(key) == value or (known and ENVIRONMENT[key](value)):
            continue
        accepted = (
            f"should not be set by a file; if you know what the value does, set {key} yourself"
            if known
            else f"should not be set by a file; accepted are {', '.join(ENVIRONMENT)}"
        )
        raise InputError(f"environment.{key}", value, accepted)
    os.environ.update(named)
