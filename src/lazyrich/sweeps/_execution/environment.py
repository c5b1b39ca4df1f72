"""What a run takes from the environment, and what of it a file may set."""

import os
import re
from collections.abc import Callable

from ..._core.errors import InputError

_TRUE_OR_FALSE = re.compile("true|false|0|1").fullmatch
_DIGIT = re.compile("[0-4]").fullmatch
# Flags that change how numbers are computed and nothing else: none names a file, or a program.
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
# What a run depends on to the last bit, beside versions and the machine, and what a file may say.
ENVIRONMENT: dict[str, Callable[[str], object]] = {
    "XLA_FLAGS": _known_flags,
    "PJRT_NPROC": _COUNT,
    "OMP_NUM_THREADS": _COUNT,
    "JAX_PLATFORMS": re.compile("(?:(?:cpu|gpu|cuda|rocm|tpu),?)*").fullmatch,
}


def take_environment(named: dict[str, str]) -> None:
    """Sets what a batch's file says of the environment of its runs.

    A file is no more than a file: whoever wrote it may have named a library to be loaded. Keys
    that this library does not write, and values that do more than it needs, are refused, unless
    they are what the user has set already.

    - **Raises** [`InputError`][lazyrich.InputError] before anything is set.
    """
    for key, value in named.items():
        known = key in ENVIRONMENT
        if os.environ.get(key) == value or (known and ENVIRONMENT[key](value)):
            continue
        accepted = (
            f"is not what a file may set; if you know what it does, set {key} yourself"
            if known
            else f"is not what a file may set; accepted are {', '.join(ENVIRONMENT)}"
        )
        raise InputError(f"environment.{key}", value, accepted)
    os.environ.update(named)
