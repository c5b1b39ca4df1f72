"""Identity: the same hash means the same numbers, in every process."""

import bz2
import collections
import dataclasses
import datetime
import functools
import gzip
import importlib
import os
import pathlib
import platform
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.io
import xarray as xr

import lazyrich as lr
from lazyrich._core.fingerprint import fingerprint
from lazyrich.models import AbstractModel
from lazyrich.probes import AbstractProbe
from lazyrich.records.transition import CODES
from lazyrich.sweeps import Sweep
from lazyrich.sweeps._store import Store, batch_file, from_bytes
from lazyrich.sweeps.repeats import refuse_repeats
from lazyrich.tasks import AbstractTask


def of(**parts: Any) -> str:
    """The hash of an experiment with these parts."""
    return experiment(**parts).content_hash


def experiment(**parts: Any) -> lr.Experiment:
    fields: dict[str, Any] = {
        "task": lr.tasks.PolynomialRegression(n=4, d=3, num_test=4),
        "dynamics": lr.dynamics.GradientDescent(learning_rate=0.1),
        "loss": lr.losses.Squared(),
        "t1": 1.0,
        "times": lr.dynamics.Times(num_log=3, num_linear=2),
        "probes": ("train_loss", "test_loss"),
    }
    return lr.Experiment(**(fields | parts))


def model(function: Any, init: Any = None) -> lr.models.Functions:
    return lr.models.Functions(init_params=init or at_zero, function=function)


def at_zero(key, dim):
    del key
    return jnp.zeros(dim)


# --- Pairs that differ in one thing each. ---


def closing_over(value: Any) -> Any:
    return lambda p, x: x @ p * value


def defaulting_to(value: Any) -> Any:
    def function(p, x, scale=value):
        return x @ p * scale

    return function


def with_keyword(value: Any) -> Any:
    def function(p, x, *, scale=value):
        return x @ p * scale

    return function


def scaled(p, x, scale=1.0):
    return x @ p * scale


def nested(value: Any) -> Any:
    def function(p, x):
        def inner(y):
            return y * value

        return inner(x @ p)

    return function


def written(text: str, name: str = "f", **names: Any) -> Any:
    """What a module of its own with this text defines under a name."""
    module = types.ModuleType("written_by_a_test")
    vars(module).update({"jnp": jnp, "jax": jax, "np": np, "eqx": eqx, **names})
    exec(text, vars(module))  # the text is the test's
    return getattr(module, name)


def line(expression: str, **names: Any) -> Any:
    return written(f"def f(p, x):\n    return {expression}\n", **names)


def pair(names: str, *values: float) -> Any:
    """A named tuple of a type of its own."""
    make: Any = collections.namedtuple
    return make("T", names)(*values)


HERE = pathlib.Path(__file__)


def opening(path: Any) -> Any:
    return lambda p, x: x @ p * len(path.open().read())


class Scale:
    def __init__(self, scale: Any):
        self.scale = scale

    @classmethod
    def of(cls, **fields: Any) -> "Scale":
        made = cls(1.0)
        vars(made).update(fields)
        return made

    def __call__(self, p, x):
        return x @ p * self.scale

    def method(self, p, x):
        return x @ p * self.scale

    @functools.cached_property
    def twice(self):
        return 2 * self.scale


@dataclasses.dataclass(frozen=True)
class Quiet:
    """Equal to every other one, whatever its scale."""

    scale: float = dataclasses.field(default=1.0, compare=False)

    def __call__(self, p, x):
        return x @ p * self.scale


class Slotted:
    __slots__ = ("scale",)

    def __init__(self, scale: Any):
        self.scale = scale

    def __call__(self, p, x):
        return x @ p * self.scale


class Module(eqx.Module):
    weights: Any
    power: int = eqx.field(static=True, default=1)
    act: Any = jax.nn.relu

    def __call__(self, x):
        return self.act(jnp.sum(self.weights * x**self.power))


def module(**fields: Any) -> lr.models.FromEquinox:
    return lr.models.FromEquinox(module=Module(**({"weights": jnp.ones(3)} | fields)))


class Weight(AbstractProbe):
    place: int = 0
    scale: Any = 1.0

    @property
    def name(self):
        return "weight"

    @property
    def long_name(self):
        return "a weight"

    def __call__(self, state, context):
        del context
        return state.params[self.place] * self.scale


class Heavier(Weight):
    def __call__(self, state, context):
        return 2 * super().__call__(state, context)


KIND = """
class f(Base):
    derived = True
    scale: float = {default}

    @property
    def homogeneity(self):
        return None

    def init(self, key, dim):
        return jnp.zeros(dim)

    def apply(self, params, x):
        return x @ params * self.scale * {factor}
"""
PROBE = """
class Between(AbstractProbe):
    factor = {base}

    def times(self):
        return self.factor

class f(Between):
    name = "own"
    long_name = "own"

    def __call__(self, state, context):
        return jnp.sum(state.params) * self.times() {code}
"""
TASK = """
class f(AbstractTask):
    derived = True
    n: int = 4

    def sample(self, key):
        x = jnp.eye(self.n)
        block = Samples(x, {factor} * x[:, 0])
        return Split(block, Blocks(lambda index: block, 1))
"""
LOSS = """
class f(Squared):
    derived = True

    def value(self, f, y):
        return {factor} * super().value(f, y)
"""
DYNAMICS = """
class f(GradientDescent):
    derived = True

    def transformation(self, weight_decay):
        return optax.add_decayed_weights({factor} * weight_decay)
"""


def kind(text: str, **fields: Any) -> Any:
    """A class of its own, defined again each time in the same place, as a notebook's cell does."""
    import optax

    from lazyrich.tasks import Blocks, Samples, Split

    names = {
        "Base": AbstractModel, "AbstractTask": AbstractTask, "AbstractProbe": AbstractProbe,
        "Samples": Samples, "Split": Split, "Blocks": Blocks, "Squared": lr.losses.Squared,
        "GradientDescent": lr.dynamics.GradientDescent, "optax": optax,
        "__name__": "written_by_a_test",
    }  # fmt: skip
    return written(text.format(**fields), **names)


def own(text: str, **fields: Any) -> Any:
    return kind(text, **fields)()


def function(make: Any, first: Any, second: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"model": model(make(first))}, {"model": model(make(second))}


def shadow(value: Any) -> Any:
    return line("x @ p * K", K=value)


def calls(value: Any) -> Any:
    return line("g(p, x)", g=line("x @ p * K", K=value))


def named(value: Any) -> Any:
    found = written("def g(): pass", "g")
    found.k = value
    return found


def of_kind(body: str, base: str, content: Any, **fields: Any) -> Any:
    """An instance of a subclass of a built-in type, with attributes set on it."""
    import collections

    text = f"class f({base}):\n    {body}\n"
    found = written(text, collections=collections)
    found = content.view(found) if isinstance(content, np.ndarray) else found(content)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def coded(expression: str, body: str, base: str, content: Any) -> Any:
    """A function of two such instances, whose class has 1 or 2 in its code."""
    return function(lambda v: line(expression, K=of_kind(body.format(v), base, content)), 1.0, 2.0)


def carried(base: str, content: Any) -> Any:
    """A function of two such instances that differ in one attribute."""
    return function(
        lambda v: line("x @ p * K.scale", K=of_kind("pass", base, content, scale=v)), 1.0, 2.0
    )


def of_metaclass(value: float) -> Any:
    text = (
        f"class Meta(type):\n    @property\n    def scale(cls):\n        return {value}\n\n"
        "class f(metaclass=Meta):\n    pass\n"
    )
    return line("x @ p * K.scale", K=written(text))


GIVES = "def __getitem__(self, key): return {}"
IS = "scale = property(lambda self: {})"


MINE = """
from typing import Any
import jax.numpy as jnp
import lazyrich as lr
from lazyrich.models import AbstractModel

class Mine{name}(AbstractModel):
    scale: float = 1.0
    table_of: Any = None

    @property
    def homogeneity(self):
        return None

    def init(self, key, dim):
        return jnp.zeros(dim)

    def apply(self, params, x):
        return x @ params * self.scale * {factor}
"""


def mine(name: str, factor: float) -> Any:
    text = MINE.format(name=name, factor=factor)
    return written(text, f"Mine{name}", __name__="a_notebook")


PAIRS: dict[str, Any] = {
    "closure": function(closing_over, 1.0, 2.0),
    "closure, type": function(closing_over, 1, 1.0),
    "closure, bool": function(closing_over, 1, True),
    "closure, array": function(closing_over, np.ones(4), 2 * np.ones(4)),
    "closure, dtype": function(closing_over, np.ones(4, "f4"), np.ones(4, "f8")),
    "closure, shape": function(closing_over, np.ones((1, 4)), np.ones((4, 1))),
    "closure, jax array": function(closing_over, jnp.ones(4), 2 * jnp.ones(4)),
    "closure, function": function(closing_over, jnp.sin, jnp.cos),
    "closure, sign of zero": function(closing_over, 0.0, -0.0),
    "closure, order of a list": function(closing_over, [1, 2], [2, 1]),
    "closure, set": function(closing_over, {"a", "b"}, {"a", "c"}),
    "closure, dict": function(closing_over, {"a": 1}, {"a": 2}),
    "closure, inside of a function": function(nested, 1.0, 2.0),
    "default": function(defaulting_to, 1.0, 2.0),
    "keyword default": function(with_keyword, 1.0, 2.0),
    "partial": function(lambda v: functools.partial(scaled, scale=v), 1.0, 2.0),
    "partial, place": function(lambda v: functools.partial(scaled, v), 1.0, 2.0),
    "bound method": function(lambda v: Scale(v).method, 1.0, 2.0),
    "callable": function(Scale, 1.0, 2.0),
    "callable, slots": function(Slotted, 1.0, 2.0),
    "callable, equal": function(Quiet, 1.0, 2.0),
    "compiled": function(lambda v: jax.jit(closing_over(v)), 1.0, 2.0),
    "compiled by equinox": function(lambda v: eqx.filter_jit(closing_over(v)), 1.0, 2.0),
    "mapped": function(lambda v: jax.vmap(closing_over(v), (None, 0)), 1.0, 2.0),
    "cached": function(lambda v: functools.lru_cache(closing_over(v)), 1.0, 2.0),
    "attribute of a function": function(lambda v: line("x @ p * g.k", g=named(v)), 1.0, 2.0),
    "constant": function(line, "x @ p * 2.0", "x @ p * 3.0"),
    "operation": function(line, "x @ p + 1", "x @ p - 1"),
    "attribute of what is passed": function(line, "(x @ p).real", "(x @ p).imag"),
    "zeros of another type": function(closing_over, np.zeros(4, "f8"), np.zeros(4, "i8")),
    "name of an attribute": function(line, "jnp.sin(x @ p)", "jnp.cos(x @ p)"),
    "constant of a nested function": function(
        line, "(lambda y: y + 1.0)(x @ p)", "(lambda y: y + 2.0)(x @ p)"
    ),
    "constant of a comprehension": function(
        line, "sum([x @ p * k for k in (1, 2)])", "sum([x @ p * k for k in (1, 3)])"
    ),
    "global": function(shadow, 1.0, 2.0),
    "own dict, missing keys": coded(
        "x @ p * K['a']", "def __missing__(self, key): return {}", "dict", {}
    ),
    "own dict, items": coded("x @ p * K['a']", GIVES, "dict", {"a": 3.0}),
    "own dict with a default": coded("x @ p * K['a']", GIVES, "collections.defaultdict", None),
    "own dict, hidden content": function(
        lambda v: line("x @ p * K['a']", K=of_kind("def items(s): return []", "dict", {"a": v})),
        1.0, 2.0,
    ),
    "own list, attribute": carried("list", [1.0]),
    "own tuple, attribute": carried("tuple", (1.0,)),
    "own array, attribute": carried("np.ndarray", np.ones(4)),
    "own array, code": coded("x @ p * K.scale", IS, "np.ndarray", np.ones(4)),
    "own scalar of NumPy, attribute": carried("np.float64", 1.0),
    "own float, attribute": carried("float", 1.0),
    "own float, product": coded("x @ p * float(1.0 * K)", "def __rmul__(s, o): return {}",
                                "float", 1.0),
    "own float, hidden value": function(
        lambda v: line("x @ p * (K + 0)", K=of_kind("def __repr__(s): return ''", "float", v)),
        1.0, 2.0,
    ),
    "own int, code": coded("x @ p * K.scale", IS, "int", 1),
    "own text, property": coded("x @ p * K.scale", IS, "str", "a"),
    "own bytes, property": coded("x @ p * K.scale", IS, "bytes", b"a"),
    "own set, property": coded("x @ p * K.scale", IS, "set", {1}),
    "own partial, code": function(
        lambda v: written(
            "import functools\nclass Own(functools.partial):\n"
            f"    def __call__(self, *a): return {v} * super().__call__(*a)\n"
            "f = Own(g)\n", g=scaled,
        ), 1.0, 2.0,
    ),
    "own property, code": function(
        lambda v: line("x @ p * K.scale", K=written(
            f"class own(property):\n    def __get__(self, *a): return {v}\n"
            "class A:\n    scale = own(lambda self: 1.0)\nf = A()\n"
        )), 1.0, 2.0,
    ),
    "metaclass": function(of_metaclass, 1.0, 2.0),
    "global of a global": function(calls, 1.0, 2.0),
    "global in a nested function": function(
        lambda v: line("(lambda y: y * K)(x @ p)", K=v), 1.0, 2.0
    ),
    "attribute of a module of one's own": function(
        lambda v: line("x @ p * m.K", m=types.SimpleNamespace(K=v)), 1.0, 2.0
    ),
    "library function under one name": function(
        lambda v: line("g(x @ p)", g=v), jax.nn.relu, jax.nn.gelu
    ),
    "ufunc": function(lambda v: line("g(x @ p)", g=v), np.sin, np.cos),
    "handled exception": function(
        lambda v: written(f"def f(p, x):\n  try: return x @ p\n  except {v}: return p"),
        "TypeError", "ValueError",
    ),
    "initial parameters": (
        {"model": model(scaled, closing_over(1.0))}, {"model": model(scaled, closing_over(2.0))}
    ),
    "declared degree": ({"model": model(scaled)}, {"model": lr.models.Functions(
        init_params=at_zero, function=scaled, degree=1)}),
    "module, weights": ({"model": module()}, {"model": module(weights=2 * jnp.ones(3))}),
    "module, static field": ({"model": module()}, {"model": module(power=2)}),
    "module, function": ({"model": module()}, {"model": module(act=jnp.tanh)}),
    "module, other layer": (
        {"model": lr.models.FromEquinox(module=eqx.nn.Lambda(jnp.sin))},
        {"model": lr.models.FromEquinox(module=eqx.nn.Lambda(jnp.cos))},
    ),
    "module inside of another": (
        {"model": lr.models.Doubled(model=module())},
        {"model": lr.models.Doubled(model=module(power=2))},
    ),
    "probe, field": ({"probes": (Weight(place=0),)}, {"probes": (Weight(place=1),)}),
    "probe, array": (
        {"probes": (Weight(scale=np.array(1.0)),)}, {"probes": (Weight(scale=np.array(2.0)),)}
    ),
    "probe, subclass": ({"probes": (Weight(),)}, {"probes": (Heavier(),)}),
    "probe, code": tuple(
        {"probes": (own(PROBE, base=1, code=code),)} for code in ("+ 0.0", "+ 1.0")
    ),
    "probe, attribute of a base class": tuple(
        {"probes": (own(PROBE, base=base, code=""),)} for base in (1, 2)
    ),
    "probe, name of a built-in one": (
        {"probes": ("train_loss",)},
        {"probes": (kind(PROBE.replace('"own"', '"train_loss"'), base=1, code="")(),)},
    ),
    "model, code": tuple({"model": own(KIND, default=1.0, factor=k)} for k in (1, 2)),
    "model, default": tuple({"model": own(KIND, default=k, factor=1)} for k in (1.0, 2.0)),
    "model, field": tuple(
        {"model": kind(KIND, default=1.0, factor=1)(scale=k)} for k in (1.0, 2.0)
    ),
    "model, field of an own kind of dict": tuple(
        {"model": mine("Field", 1.0)(table_of=of_kind(GIVES.format(k), "dict", {"a": 1.0}))}
        for k in (1.0, 2.0)
    ),
    "model, names of a tuple in a field": tuple(
        {"model": mine("Named", 1.0)(table_of=[pair(names, 1.0, 2.0)])}
        for names in ("a b", "b a")
    ),
    "model, a tuple with and without names": tuple(
        {"model": mine("Plain", 1.0)(table_of=value)}
        for value in (pair("a b", 1.0, 2.0), (1.0, 2.0))
    ),
    "model inside of a built-in one": tuple(
        {"model": lr.models.Linearised(model=own(KIND, default=1.0, factor=k))} for k in (1, 2)
    ),
    "task, code": tuple({"task": own(TASK, factor=k)} for k in (1, 2)),
    "loss, code": tuple({"loss": own(LOSS, factor=k)} for k in (1, 2)),
    "dynamics, code": tuple(
        {"dynamics": kind(DYNAMICS, factor=k)(learning_rate=0.1)} for k in (1, 2)
    ),
    "operation of a task": tuple(
        {"task": lr.tasks.ModularArithmetic(p=3, operation=lambda a, b, k=k: k * a + b)}
        for k in (1, 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_in_one_thing_has_another_hash(name):
    first, second = PAIRS[name]
    assert of(**first) != of(**second)


def test_each_hash_of_the_table_is_its_own():
    hashes = collections.Counter(of(**side) for pair in PAIRS.values() for side in pair)
    assert len(PAIRS) >= 25
    # A few of the pairs' sides say the same thing in the same words, on purpose.
    assert len(hashes) > 1.5 * len(PAIRS)


# --- Equals that are made again. ---

AGAIN: dict[str, Any] = {
    "closure": lambda: model(closing_over(np.arange(3.0))),
    "default": lambda: model(defaulting_to(2.0)),
    "set": lambda: model(closing_over({"a", "b", "c", "d"})),
    "dict": lambda: model(closing_over({"a": {1, 2}, "b": frozenset("xyz")})),
    "partial": lambda: model(functools.partial(scaled, scale=2.0)),
    "callable": lambda: model(Scale(2.0)),
    "method": lambda: model(Scale(2.0).method),
    "text": lambda: model(line("x @ p * K", K=2.0)),
    "module": lambda: module(power=3),
    "compiled": lambda: model(jax.jit(closing_over(1.0))),
    "gradient": lambda: model(jax.grad(closing_over(1.0))),
    "layers": lambda: lr.models.FromEquinox(module=eqx.nn.MLP(3, "scalar", 4, 2, key=jr.key(0))),
    "kind": lambda: own(KIND, default=1.0, factor=2),
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_is_made_again_has_the_same_hash(name):
    assert of(model=AGAIN[name]()) == of(model=AGAIN[name]())


@pytest.mark.slow
def test_hashes_are_those_of_every_process():
    # Sets of strings have another order in every process.
    code = (
        "from tests.test_identity import *\n"
        "print('\\n'.join(of(model=make()) for make in AGAIN.values()))\n"
        "print('\\n'.join(of(**side) for pair in PAIRS.values() for side in pair))\n"
        "print(of(probes=(Weight(place=1),)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    ours = [of(model=make()) for make in AGAIN.values()]
    ours += [of(**side) for pair in PAIRS.values() for side in pair]
    assert done.stdout.split() == [*ours, of(probes=(Weight(place=1),))]


def test_names_docstrings_and_places_are_no_part_of_a_function():
    plain = line("x @ p * 2.0")
    said = written('def other(p, x):\n    "Says more."\n\n    return x @ p * 2.0\n', "other")
    assert fingerprint(plain, "f") == fingerprint(said, "f")
    # Words that are computed with stay.
    words = [written(f"def f(p, x):\n    return {word!r}\n") for word in ("a", "b")]
    assert fingerprint(words[0], "f") != fingerprint(words[1], "f")


def test_what_is_kept_by_use_is_no_part_of_an_object():
    used = Scale(2.0)
    assert used.twice == 4
    assert fingerprint(used, "f") == fingerprint(Scale(2.0), "f")


def test_functions_that_call_each_other_are_read_to_the_end():
    text = "def f(n):\n    return g(n - 1) if n else {}\n\ndef g(n):\n    return f(n - 1) + {}\n"
    found = [fingerprint(written(text.format(*ks)), "f") for ks in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    loop: list[Any] = [1]
    loop.append(loop)
    assert fingerprint(loop, "f") != fingerprint([1, [1]], "f")


def test_the_code_of_a_sequence_is_part_of_it():
    text = "class f(tuple):\n    def at(self, x):\n        return {} * x\n"
    kinds = [written(text.format(factor)) for factor in (1, 1, 2)]
    one, same, other = (fingerprint(kind((3, 4)), "f") for kind in kinds)
    assert one == same != other
    assert one != fingerprint((3, 4), "f")


REFUSED: dict[str, tuple[Any, str]] = {
    "generator": (lambda: closing_over(i for i in range(3)), "keep a list or an array"),
    "iterator": (lambda: closing_over(iter([1])), "keep a list or an array"),
    "open file": (lambda: closing_over(sys.stdin), "keep a list or an array"),
    "random state": (lambda: closing_over(np.random.default_rng(0)), "use the given key"),
    "hidden random state": (lambda: line("np.random.normal()"), "hidden random state"),
    "reading a file": (lambda: line("np.load('w.npy')"), "read it before"),
    "opening a file": (lambda: line("open('w')"), "read it before"),
    "clock": (lambda: line("time.time()", time=time), "read it before"),
    "loading an array": (lambda: line("jnp.load('w.npy')", jnp=jnp), "read it before"),
    "loading a matrix": (lambda: line("io.loadmat('w')", io=scipy.io), "read it before"),
    "another program": (lambda: line("s.run(['w'])", s=subprocess), "read it before"),
    "output of a program": (lambda: line("s.check_output('w')", s=subprocess), "read it before"),
    "folder": (lambda: line("os.listdir('.')", os=os), "read it before"),
    "clock of the process": (lambda: line("time.process_time()", time=time), "read it before"),
    "names of a frame": (lambda: line("sys._getframe()", sys=sys), "read it before"),
    "a module by its name": (lambda: line("i.import_module('w')", i=importlib), "read it before"),
    "environment": (lambda: line("os.environ", os=os), "keep what it needs in a field"),
    "arguments": (lambda: line("sys.argv", sys=sys), "keep what it needs in a field"),
    "text of a path": (lambda: line("P('w').read_text()", P=pathlib.Path), "read it before"),
    "bytes of a path": (lambda: line("path.read_bytes()", path=HERE), "read it before"),
    "an open path": (lambda: line("(d.w / 'a').open()", d=Scale.of(w=HERE)), "read it before"),
    "a path that is closed over": (lambda: opening(HERE), "read it before"),
    "the present day": (lambda: line("d.date.today()", d=datetime), "read it before"),
    "the present time": (lambda: line("d.datetime.now()", d=datetime), "read it before"),
    "its method": (lambda: line("now()", now=datetime.datetime.now), "read it before"),
    "a clock in another unit": (lambda: line("t.monotonic_ns()", t=time), "read it before"),
    "the local time": (lambda: line("t.localtime()", t=time), "read it before"),
    "a mapped file": (lambda: line("np.memmap('w')"), "read it before"),
    "a compressed file": (lambda: line("g.open('w')", g=gzip), "read it before"),
    "size of a file": (lambda: line("os.path.getsize('w')", os=os), "read it before"),
    "folder of the process": (lambda: line("os.getcwd()", os=os), "read it before"),
    "name of the machine": (lambda: line("s.gethostname()", s=socket), "read it before"),
    "its other name": (lambda: line("m.node()", m=platform), "read it before"),
    "an identifier": (lambda: line("u.uuid1()", u=uuid), "read it before"),
    "a secret": (lambda: line("s.token_bytes()", s=secrets), "read it before"),
    "a state without a seed": (lambda: line("np.random.default_rng()"), "hidden random state"),
    "one of Python": (lambda: line("r.Random().random()", r=random), "hidden random state"),
    "a clock that the function imports": (
        lambda: written("def f(p, x):\n    from time import time as t\n    return t() * x @ p"),
        "reads outside data by time.time",
    ),
    "a file of a module that it imports": (
        lambda: written("def f(p, x):\n    import numpy\n    return lambda: numpy.load('w')"),
        "reads outside data by numpy.load",
    ),
    "evaluating": (lambda: line("eval('x')"), "write it as a function"),
    "module of one's own": (
        lambda: line("g(m)", m=types.ModuleType("mine")), "pass the functions that it needs"
    ),
    "importing one": (
        lambda: written("def f(p, x):\n    import mine\n    return mine.K"),
        "import it at the top",
    ),
    "importing beside the file": (
        lambda: written("def f(p, x):\n    from . import helper\n    return x @ p"),
        "imports .* when it is called: import it at the top",
    ),
    "a module of one's own with the name of another": (
        lambda: written("def f(p, x):\n    from .random import draw\n    return x @ p * draw()"),
        "imports .random when it is called: import it at the top",
    ),
    "setting a global": (
        lambda: written("def f(p, x):\n    global n\n    n = 1\n    return x @ p"),
        "changes the global n",
    ),
    "lock": (lambda: closing_over(threading.Lock()), "no content that can be hashed"),
    "ufunc of a function": (
        lambda: closing_over(np.frompyfunc(lambda a: a, 1, 1)), "pass the function"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_lasting_content_is_refused_in_one_line(name):
    make, words = REFUSED[name]
    with pytest.raises(lr.InputError, match=rf"^model\.function = .*{words}") as error:
        lr.simulate(experiment(model=model(make())))
    assert "\n" not in str(error.value)


ACCEPTED = {
    "methods of one's own called open and now": lambda: line(
        "x @ p * m.open * m.now()", m=Scale.of(open=2.0, now=at_zero)
    ),
    "a seeded state": lambda: line("np.random.default_rng(0).normal() * x @ p"),
    "a date": lambda: line("x @ p * d.year", d=datetime.date(2020, 1, 1)),
    "the name of a path": lambda: line("x @ p * len(path.name)", path=HERE),
    "joined names": lambda: line("x @ p * len(os.path.join('a', 'b'))", os=os),
    "what a file's properties were": lambda: line("x @ p * s.st_size", s=HERE.stat()),
    "constants of the machine": lambda: line("x @ p * sys.float_info.eps", sys=sys),
    "a library that it imports": lambda: written(
        "def f(p, x):\n    import numpy.linalg as a\n    from math import pi\n"
        "    return a.norm(x @ p) * pi"
    ),
    "absolute values beside the name of a path": lambda: line(
        "jnp.absolute(x @ p) * len(path.name)", path=HERE, jnp=jnp
    ),
    "compressed bytes": lambda: line("x @ p * len(b.compress(b'1'))", b=bz2),
    "an error of a module that reads": lambda: line("s.TimeoutExpired", s=subprocess),
    "a name that nothing defines": lambda: line("x @ p * undefined()"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_reads_nothing_from_outside_is_hashed(name):
    assert of(model=model(ACCEPTED[name]())) == of(model=model(ACCEPTED[name]()))


# Modules that nothing else imports.
@pytest.mark.parametrize(
    ("statement", "used"),
    [("from wsgiref import util", "util.FileWrapper"), ("import ctypes.macholib.dyld as d", "d"),
     ("import email.mime.image", "email.mime.image.MIMEImage")],
)  # fmt: skip
def test_a_hash_is_the_same_before_and_after_the_first_call_of_what_imports(statement, used):
    function = written(f"def f(p, x):\n    {statement}\n    return x @ p, {used}")
    before = fingerprint(function, "f")
    function(jnp.ones(1), jnp.ones((2, 1)))
    assert fingerprint(function, "f") == before


def test_a_module_that_fails_when_it_is_imported_is_no_error_of_the_hash(tmp_path, monkeypatch):
    (tmp_path / "fails_at_once.py").write_text("raise RuntimeError('no')")
    monkeypatch.syspath_prepend(tmp_path)
    text = "def f(p, x):\n    import fails_at_once\n    return fails_at_once.K"
    with pytest.raises(lr.InputError, match="imports fails_at_once when it is called"):
        fingerprint(written(text), "f")


# --- The numbers that go with a hash. ---


def ends(*experiments: lr.Experiment) -> list[float]:
    return [float(lr.simulate(one)["test_loss"][-1]) for one in experiments]


@functools.cache
def apart() -> list[float]:
    """What models of two scales end at, each a function of its own."""
    return ends(*(experiment(model=model(closing_over(scale))) for scale in (1.0, 0.5)))


def test_names_of_a_tuple_in_a_field_decide_the_numbers():
    text = MINE.format(name="Names", factor=1.0).replace("self.scale", "self.table_of.a")
    kind = written(text, "MineNames", __name__="a_notebook")
    pairs = (pair(names, 1.0, 0.5) for names in ("a b", "b a"))
    found = ends(*(experiment(model=kind(table_of=one)) for one in pairs))
    assert found == pytest.approx(apart(), rel=1e-12)


@pytest.mark.slow
def test_a_global_that_was_changed_changes_hash_and_numbers():
    function = line("x @ p * K", K=1.0)
    one = experiment(model=model(function))
    digest = one.content_hash
    assert ends(one) == pytest.approx(apart()[:1], rel=1e-12)
    function.__globals__["K"] = 0.5
    assert one.content_hash != digest
    assert ends(one) == pytest.approx(apart()[1:], rel=1e-12)
    assert apart()[0] != apart()[1]


@pytest.mark.slow
def test_models_that_are_equal_and_not_the_same_have_their_own_numbers():
    pair = [experiment(model=model(Quiet(scale))) for scale in (1.0, 0.5)]
    assert pair[0].model == pair[1].model  # as Python and JAX see them
    assert pair[0].content_hash != pair[1].content_hash
    # JAX would compile the first and return its numbers for both.
    for dynamics in (lr.dynamics.GradientDescent(learning_rate=0.1), lr.dynamics.Flow()):
        batch = [one.model_copy(update={"dynamics": dynamics}) for one in pair]
        with pytest.raises(lr.InputError, match="run them one by one"):
            lr.simulate_many(batch)
    found = [ends(one)[0] for one in pair]
    assert found == pytest.approx(apart(), rel=1e-12)


class Entry(AbstractProbe):
    """The first or the second parameter, by a field that is neither static nor an array."""

    part: str

    @property
    def name(self):
        return f"{self.part}_entry"

    @property
    def long_name(self):
        return f"{self.part} entry"

    def __call__(self, state, context):
        del context
        return jnp.ravel(state.params)[0 if self.part == "first" else 1]


def test_probes_that_differ_in_a_field_stand_in_one_experiment():
    start = np.array([0.3, -0.2, 0.1])
    probes = ("train_loss", Entry("first"), Entry("second"))
    net = model(line("x @ p"))
    pair = [experiment(model=net, probes=each) for each in (probes, probes[::-1])]
    for record in lr.simulate_many(pair, params=[start, start]):
        entries = (float(record[f"{part}_entry"][0]) for part in ("first", "second"))
        assert list(entries) == pytest.approx([0.3, -0.2], rel=1e-6)


@pytest.mark.slow
def test_two_models_in_one_store_have_their_own_numbers(tmp_path):
    found = []
    for scale in (1.0, 0.5, 1.0):
        one = experiment(model=model(closing_over(scale)))
        runs = lr.sweep(
            one, {"weight_decay": [0.0, 0.1]}, tmp_path / "store", workers=0, batch_size=2
        )
        assert runs["experiment_hash"].values.tolist() == [
            one.with_changes({"weight_decay": decay}).content_hash for decay in (0.0, 0.1)
        ]
        found.append(runs["late_test_loss"].values.tolist())
    assert found[0] == found[2]
    assert found[0][0] == pytest.approx(apart()[0])
    assert found[1][0] == pytest.approx(apart()[1])
    assert found[0] != found[1]
    assert len(list((tmp_path / "store" / "batches").iterdir())) == 2


# --- Kinds of one's own: names, and stores that are read elsewhere. ---


@pytest.fixture
def forgotten():
    """Takes back the kinds that a test defines."""
    before = dict(AbstractModel.kinds)
    yield
    AbstractModel.kinds.clear()
    AbstractModel.kinds.update(before)


def test_the_name_of_a_kind_is_taken_once(forgotten):
    with pytest.raises(
        lr.InputError, match=r"class = 'MLP': .*lazyrich\.models\.mlp\.MLP.*another name"
    ):
        type("MLP", (AbstractModel,), {
            "__module__": "a_notebook", "homogeneity": property(lambda self: None),
            "init": at_zero, "apply": scaled,
        })  # fmt: skip
    assert AbstractModel.kinds["MLP"] is lr.models.MLP
    first = mine("Cell", 1.0)
    again = mine("Cell", 2.0)  # the cell of a notebook, edited and run again
    assert AbstractModel.kinds["MineCell"] is again
    assert of(model=first()) != of(model=again())
    assert of(model=mine("Cell", 1.0)()) == of(model=first())
    over = {"model": [{"kind": "MineCell"}]}
    hashes = {Sweep.over(experiment(), over).content_hash}
    mine("Cell", 3.0)
    hashes.add(Sweep.over(experiment(), over).content_hash)
    assert len(hashes) == 2


@pytest.mark.parametrize("where", ["experiment", "axis", "operation"])
def test_a_store_of_kinds_that_are_not_known_here_is_read(where, tmp_path, forgotten):
    kind_ = mine("Far", 0.5)
    over: dict[str, Any] = {"weight_decay": [0.0, 0.1]}
    if where == "experiment":
        one = experiment(model=kind_(table_of=np.ones(2)))
    elif where == "axis":
        one, over = experiment(), {"model": [kind_(scale=1.0).table(), kind_(scale=2.0).table()]}
    else:
        own_one = lr.tasks.ModularArithmetic(p=3, operation=lambda a, b: a + b)
        linear = lr.models.MLP(widths=(), outputs=3)
        one = experiment(task=own_one, model=linear, loss=lr.losses.CrossEntropy())
    made = lr.sweep(one, over, tmp_path / "store", workers=0)
    AbstractModel.kinds.pop("MineFar")
    read = lr.open_store(tmp_path / "store")
    for name in ("experiment_hash", "outcome", "late_test_loss", "test_loss"):
        np.testing.assert_array_equal(read[name].values, made[name].values)
    ((_, sweep),) = Store(tmp_path / "store").sweeps().items()
    assert len(lr.status(tmp_path / "store")) == 1
    line = r"import the module" if where != "operation" else r"pass the experiment itself"
    with pytest.raises(lr.InputError, match=line) as error:
        sweep.run(0)
    assert "\n" not in str(error.value)
    lr.consolidate(tmp_path / "store", tmp_path / "zarr")


@pytest.mark.slow
def test_codes_of_outcomes_are_read_by_the_legend_of_their_file(tmp_path, monkeypatch):
    made = lr.sweep(
        experiment(), {"weight_decay": [0.0, 0.1]}, tmp_path / "store", workers=0, batch_size=2
    )
    (path,) = (tmp_path / "store" / "batches").iterdir()
    results = from_bytes(path.read_bytes(), path.name)
    results.outcomes[:] = ["renamed_since", results.outcomes[1]]
    # Written by a version whose words stand in another order, and are others.
    monkeypatch.setattr(batch_file, "CODES", ("renamed_since", *reversed(CODES)))
    path.write_bytes(batch_file.to_bytes(results, path.name))
    monkeypatch.undo()
    assert from_bytes(path.read_bytes()).outcomes == results.outcomes
    read = lr.open_store(tmp_path / "store")
    assert read["outcome"].values.tolist() == results.outcomes
    assert read["ending"].values.tolist() == made["ending"].values.tolist()
    lr.consolidate(tmp_path / "store", tmp_path / "zarr")
    whole = xr.open_zarr(tmp_path / "zarr", consolidated=False)["outcome"]
    words = whole.attrs["flag_meanings"].split()
    assert [words[code] for code in whole.values] == results.outcomes


# --- Numbers. ---

NUMBERS = [
    ("seed", 3, [np.int64(3), np.uint8(3), np.array(3), jnp.asarray(3)]),
    ("init_scale", 10.0, [10, np.float64(10), np.float32(10), np.float16(10), np.int64(10),
                          np.longdouble(10), jnp.asarray(10.0), jnp.asarray(10, jnp.bfloat16)]),
    ("weight_decay", 0.10000000149011612, [np.float32(0.1), np.array(0.1, "f4")]),
    ("divide_loss", False, [np.bool_(False), np.array(False)]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "right", "values"), NUMBERS)
def test_scalars_of_numpy_are_numbers(key, right, values):
    expected = of(**{key: right})
    for value in values:
        found = experiment(**{key: value})
        assert type(getattr(found, key)) is type(right)
        assert getattr(found, key) == right
        assert found.content_hash == expected
        assert experiment().with_changes({key: value}).content_hash == expected


def test_numbers_inside_of_other_descriptions():
    models: Any = lr.models  # types say float, and NumPy's are taken
    dynamics: Any = lr.dynamics
    tasks: Any = lr.tasks
    thresholds: Any = lr.Thresholds
    assert models.MLP(widths=np.array([4, 5])).widths == (4, 5)
    assert models.MLP(widths=(np.int32(4),)).widths == (4,)
    assert dynamics.Flow(rtol=np.float32(1e-4)).rtol == 9.999999747378752e-05
    assert dynamics.Times(num_log=np.int64(5)).num_log == 5
    assert tasks.SparseClassification(n=np.int64(8)).n == 8
    assert thresholds(sustained=np.int16(3)).sustained == 3
    changed = experiment().with_changes({"task.n": np.int64(9), "times.num_log": np.uint8(4)})
    assert changed == experiment().with_changes({"task.n": 9, "times.num_log": 4})


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", True), ("seed", np.bool_(True)), ("seed", 1.0), ("seed", np.float64(1)),
     ("init_scale", True), ("init_scale", np.True_), ("init_scale", "10"),
     ("init_scale", np.array([1.0])), ("divide_loss", 1), ("divide_loss", np.int64(1)),
     ("weight_decay", np.float32("nan")), ("init_scale", np.complex64(1))],
)  # fmt: skip
def test_what_is_no_such_number_is_refused(key, value):
    with pytest.raises(lr.InputError, match=rf"^{key} = "):
        experiment(**{key: value})


def test_equal_values_of_an_axis_are_one_run():
    for values in ([1, 1.0], [1, np.float64(1)], [1.0, jnp.asarray(1)]):
        with pytest.raises(lr.InputError, match=r"init_scale = 1(\.0)?: is given twice"):
            Sweep.over(experiment(), {"init_scale": values})
    near = [1e-5, float(np.nextafter(1e-5, 1))]
    assert len(Sweep.over(experiment(), {"weight_decay": near})) == 2
    assert len(Sweep.over(experiment(), {"seed": jnp.arange(3)})) == 3


# --- Keys that change nothing. ---


def given() -> Any:
    x = np.eye(4, 3)
    return lr.tasks.Arrays(x_train=x, y_train=x[:, 0] * 0.5, x_test=x, y_test=x[:, 0] * 0.5)


def sgd(**fields: Any) -> Any:
    return lr.dynamics.SGD(learning_rate=0.1, **fields)


IDLE: dict[str, Any] = {
    "seed, own data and start": ({"task": given(), "model": model(scaled)}, {"seed": range(3)}),
    "seed, among others": (
        {"task": given(), "model": model(scaled)}, {"weight_decay": [0.0, 0.1], "seed": [4, 5]}
    ),
    "seed, module": ({"task": given(), "model": module()}, {"seed": range(2)}),
    "order of all samples": ({"dynamics": sgd()}, {"dynamics.seed": range(2)}),
    "all samples, said twice": ({"dynamics": sgd()}, {"dynamics.batch_size": [0, 4]}),
    "label noise of size zero": (
        {"dynamics": lr.dynamics.LabelNoiseSGD(learning_rate=0.1, noise=0.0)},
        {"dynamics.seed": range(2)},
    ),
    "scale of zeros": ({"model": model(scaled)}, {"init_scale": [1.0, 2.0]}),
    "division by one": ({"model": lr.models.MLP(widths=(3,))}, {"divide_loss": [True, False]}),
    "name": ({}, {"name": ["a", "b"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", IDLE)
def test_a_key_that_changes_nothing_is_refused(name, tmp_path):
    parts, over = IDLE[name]
    with pytest.raises(lr.InputError, match=r"^over\.(?!weight).*changes nothing") as error:
        lr.sweep(experiment(**parts), over, tmp_path / "store", workers=0)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "store").exists()


def random_start(key, dim):
    return jr.normal(key, (dim,))


USED: dict[str, Any] = {
    "seed, own data": (
        {"task": given(), "model": model(scaled, random_start)}, {"seed": range(2)}
    ),
    "seed, own start": ({"model": model(scaled)}, {"seed": range(2)}),
    "order of batches": ({"dynamics": sgd(batch_size=2)}, {"dynamics.seed": range(2)}),
    "label noise": (
        {"dynamics": lr.dynamics.LabelNoiseSGD(learning_rate=0.1)}, {"dynamics.seed": range(2)}
    ),
    "scale": ({"model": model(scaled, random_start)}, {"init_scale": [1.0, 2.0]}),
    "seed, used at some points": (
        {"task": given()},
        {"model": [{"kind": "MLP", "widths": [2]}, {"kind": "DiagonalLinear"}], "seed": range(2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USED)
def test_a_key_that_changes_something_is_not(name):
    parts, over = USED[name]
    refuse_repeats(Sweep.over(experiment(**parts), over))
