"""One experiment: a frozen description that names a run exactly."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
import tomli_w
from annotated_types import Ge, Gt

from .._core.description import Description, described_function, unknown_key
from .._core.errors import InputError
from .._core.files import contents, replacing
from .._core.keys import at_key, dotted
from .._core.shown import as_html, rows
from .._core.toml import MAX_BYTES, parse_toml
from ..dynamics import AbstractDynamics, Flow, ReducedFlow, Times
from ..losses import AbstractLoss, Logistic
from ..models import AbstractModel, DiagonalLinear
from ..probes import BUILT_IN, ON_REQUEST, AbstractProbe
from ..probes._base import check_probe
from ..tasks import AbstractTask
from ..tasks.held import AbstractHeld, held_task
from .identity import explicit
from .published import Published


def _said(words: str) -> Any:
    """What the help of the command line says of a field."""
    return pydantic.Field(description=words)


class Experiment(Description):
    r"""Task, model, loss, scales, dynamics, probes and seed.

    - **Takes** `task`, `model`, `loss`; `dynamics`, if left out the exact reduction where the
        model has one and [`Flow`][lazyrich.dynamics.Flow] elsewhere; `init_scale`, $\alpha$, which
        multiplies the parameters; `weight_decay`, the $\lambda$ of $\mathcal L +
        \frac\lambda2 \|\theta\|^2$; `divide_loss`, whether $\mathcal L / \alpha_\text{out}^2$
        is descended in place of $\mathcal L$, $\alpha_\text{out}$ being the model's
        `output_scale`; `t1`, the horizon in gradient-flow time; `times`, when to record;
        `probes`, what to record, by name or your own; `seed`, which fixes data and
        parameters; `name`, free text; `published`, numbers to compare with.
    - With `divide_loss`, $t$ is the flow time of the divided loss: kernels grow like
        $\alpha_\text{out}^2$, so at early times runs of all scales are alike at equal $t$. A
        learning rate of $\eta_0 / \alpha_\text{out}^2$ on $\mathcal L$ is one of $\eta_0$ on
        the divided loss, and $t = \eta_0 \times$ step. Recorded losses are never divided.
    - **Raises** [`InputError`][lazyrich.InputError] naming the key, the value and what is
        accepted.
    """

    task: AbstractTask
    model: AbstractModel = DiagonalLinear()
    loss: AbstractLoss = Logistic()
    init_scale: Annotated[float, Gt(0), _said("alpha, multiplies the parameters")] = 1.0
    weight_decay: Annotated[float, Ge(0), _said("lambda in loss + (lambda/2) |theta|^2")] = 0.0
    divide_loss: Annotated[bool, _said("divide the loss by output_scale^2: true or false")] = False
    t1: Annotated[float, Gt(0), _said("horizon, in flow time (learning rate x steps)")] = 1e4
    seed: Annotated[int, Ge(0), pydantic.Field(lt=2**63), _said("fixes data and parameters")] = 0
    dynamics: AbstractDynamics = ReducedFlow()
    times: Annotated[Times, _said("when to record")] = Times()
    probes: Annotated[tuple[str | AbstractProbe, ...], _said("what to record, a list of names")] = (
        tuple(BUILT_IN)
    )
    name: Annotated[str, _said("free text")] = "experiment"
    published: Published | None = None

    def model_post_init(self, context: object) -> None:
        del context
        if "dynamics" not in self.model_fields_set:
            self.__dict__["dynamics"] = default_dynamics(self.model)
        if not self.dynamics.can_follow(self.model):
            kind, model = type(self.dynamics).__name__, type(self.model).__name__
            accepted = f"cannot follow model {model}; leave dynamics out, or use Flow"
            raise InputError("dynamics.kind", kind, accepted)
        _ = self.loss_divisor

    @pydantic.field_validator("probes", mode="before")
    @classmethod
    def _known_probes(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise InputError("probes", value, "should be a list of probes")
        for probe in value:
            check_probe(probe, _PROBES)
        return tuple(value)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], folder: Path | None = None) -> "Experiment":
        """Builds an experiment from nested tables, such as a parsed TOML file in `folder`."""
        fields = dict(table)
        task = fields.get("task")
        if folder is not None and isinstance(task, dict):
            try:
                fields["task"] = held_task(task, folder) or task
            except InputError as error:
                raise error.under("task") from None
        model = fields.get("model")
        if isinstance(model, dict) and ":" in str(kind := model.get("kind")):
            accepted = (
                "is code, which is not run at a file's word: add --set model=module:function, "
                "or in Python Experiment.load(path, model=...)"
            )
            raise InputError("model.kind", kind, accepted)
        for key, part in _PARTS.items():
            if isinstance(fields.get(key), dict):
                try:
                    fields[key] = part(**fields[key])
                except InputError as error:
                    raise error.under(key) from None
        return cls(**fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **replaced: Any) -> "Experiment":
        """Reads a TOML file; a path to arrays in it is taken from the file's folder.

        - **Takes** `replaced`, fields in place of the file's: what no file can hold, such as
            `model=` one of your own.
        """
        path = Path(path)
        try:
            text = contents(path, MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                "experiment", str(path), f"should be a readable file ({error})"
            ) from None
        return cls.from_toml(text, path.parent, str(path), **replaced)

    @classmethod
    def from_toml(
        cls,
        text: str,
        folder: Path,
        key: str = "toml",
        *,
        beside: bool = False,
        **replaced: Any,
    ) -> "Experiment":
        """Parses the text of a TOML file that stands in `folder`, `replaced` as for `load`.

        With `beside`, for text that nobody vouches for, its arrays are in that folder too.
        """
        try:
            table = parse_toml(text)
        except ValueError as error:
            raise InputError("experiment", key, f"is not valid TOML: {error}") from None
        task = table.get("task")
        if beside and isinstance(task, dict):
            check_beside(task)
        return cls.from_table({**table, **replaced}, folder)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a TOML file that `load` reads back without loss.

        Arrays go beside it, into a `.npz` file of the same stem.
        """
        path, arrays = Path(path), None
        if isinstance(self.task, AbstractHeld):
            arrays = path.with_suffix(".npz")
            self.task.save(arrays)
        text = self.to_toml(None if arrays is None else arrays.name)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def to_toml(self, arrays_path: str | None = None) -> str:
        """The experiment as TOML; arrays are named by `arrays_path` and their digest.

        - **Raises** [`InputError`][lazyrich.InputError] for a probe that is not built in.
        """
        table = self.table()
        for probe in self.probes:
            if not isinstance(probe, str):
                raise InputError(
                    "probes", probe.name, "only built-in probes can be named in a file"
                )
        table["probes"] = list(self.probes)
        if isinstance(self.task, AbstractHeld):
            table["task"] = self.task.named()
            if arrays_path is not None:
                table["task"]["path"] = arrays_path
        # Plain values first: in TOML, what follows a table's header belongs to it.
        plain = _writable(table)
        ordered = sorted(plain.items(), key=lambda item: isinstance(item[1], dict))
        return tomli_w.dumps(dict(ordered))

    def __str__(self) -> str:
        return rows(
            experiment=f"{self.name}, {self.content_hash[:8]}",
            task=repr(self.task),
            model=repr(self.model),
            loss=repr(self.loss),
            scales=f"init_scale {self.init_scale:g}, weight_decay {self.weight_decay:g}",
            dynamics=f"{type(self.dynamics).__name__} to t1 = {self.t1:g}, seed {self.seed}",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def description(self) -> str:
        """The experiment as TOML, as far as a file can hold it: own probes are left out."""
        named = tuple(probe for probe in self.probes if isinstance(probe, str))
        return self.model_copy(update={"probes": named}).to_toml()

    @property
    def content_hash(self) -> str:
        """SHA-256 of what the computation depends on, as 64 hexadecimal digits.

        Left out are `name` and `published`, which change nothing, and every field that
        has its default value, so that a field added later leaves old hashes alone. In
        exchange a default, once released, is never changed. Functions, probes and kinds of
        your own count by what they compute: their code, and the contents of their fields,
        closures, defaults and globals.

        - **Raises** [`InputError`][lazyrich.InputError] for a function or an object of your own
            without lasting content, such as an open file, an iterator or a random state.
        """
        content = explicit(self.model_copy(update={"published": None}), "")
        content.pop("name", None)
        content.pop("published", None)
        if self.probes == _FIRST_PROBES:
            content.pop("probes")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def with_changes(self, changes: Mapping[str, Any], folder: Path | None = None) -> "Experiment":
        """The experiment with dotted keys such as `task.n` set to new values.

        A new `kind` drops the fields of the old one, and so does a `task.path`, which is read
        if `folder`, from where it starts, is given. Dynamics that cannot follow a new model are
        replaced by its default. Published numbers are dropped unless the changes leave the
        setting alone (seed, name, dynamics, recording).
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        table = {name: value for name, value in fields.items() if value is not None}
        changed = {key.split(".")[0] for key in changes}
        if "task.path" in changes:
            table["task"] = {}
        for key, value in changes.items():
            *parents, leaf = key.split(".")
            place: Any = table
            for depth, parent in enumerate(parents):
                # Only what is changed is taken apart: a model of the user's own cannot be.
                if isinstance(place.get(parent), Description):
                    place[parent] = place[parent].table()
                if not isinstance(place.get(parent), dict):
                    accepted = list(type(self).model_fields) if depth == 0 else list(place)
                    raise unknown_key(key, value, accepted)
                place = place[parent]
            if leaf == "kind" and place.get("kind") != value:
                place.clear()
            place[leaf] = value
        unchanged = ("seed", "name", "dynamics", "times", "probes", "published")
        if not changed <= set(unchanged):
            table.pop("published", None)
        if "model" in changed and "dynamics" not in changed:
            # One that was never asked to follow the new model gives way, if it cannot.
            dynamics = table.pop("dynamics")
            found = type(self).from_table(table, folder)
            kept = dynamics.can_follow(found.model)
            return found.model_copy(update={"dynamics": dynamics}) if kept else found
        return type(self).from_table(table, folder)

    def with_data(self, folder: str | os.PathLike[str]) -> "Experiment | None":
        """The experiment on data from files in `folder`, None if its task reads none."""
        task = self.task.with_data(str(Path(folder).resolve()))
        return None if task is None else self.model_copy(update={"task": task})

    def value(self, key: str) -> Any:
        """What stands at a dotted key; tables as such."""
        found = at_key(self, key, _NONE)
        if found is _NONE:
            raise unknown_key(key, None, self.keys())
        return found

    def keys(self) -> list[str]:
        """Every dotted key that `with_changes` takes."""
        table = self.table()
        table.pop("published", None)
        return dotted(table)

    @property
    def loss_divisor(self) -> float:
        """What the loss is divided by before it is descended."""
        if not self.divide_loss:
            return 1.0
        scale = self.model.alpha_out
        if scale is None:
            accepted = (
                f"needs a model with an output_scale, which {type(self.model).__name__} lacks"
            )
            raise InputError("divide_loss", True, accepted)
        return scale**2

    @property
    def time_axis(self) -> tuple[str, str]:
        """What records call their times, and the unit."""
        if getattr(self.dynamics, "clock", "linear") == "log":
            return "log10 of one plus gradient-flow time", "log10(1 + t)"
        return "gradient-flow time", "1"

    @property
    def probe_modules(self) -> tuple[AbstractProbe, ...]:
        """The probes themselves, names looked up."""
        return tuple(_PROBES[probe] if isinstance(probe, str) else probe for probe in self.probes)


def default_dynamics(model: AbstractModel) -> AbstractDynamics:
    """The gradient flow of a model, by its exact reduction where it has one."""
    return ReducedFlow() if model.diagonal_depth is not None else Flow()


_PROBES = BUILT_IN | ON_REQUEST

_NONE = object()

# What records held by default at first: files that spell it out mean the default.
_FIRST_PROBES = (
    "train_loss", "test_loss", "train_log_loss", "test_log_loss", "train_accuracy",
    "test_accuracy", "param_norm", "weight_norm_l1", "weight_norm_l2", "margin_l1", "margin_l2",
    "nuclear_norm", "drift", "cosine_to_kernel", "cosine_to_rich", "distance_to_kernel",
    "distance_to_rich",
)  # fmt: skip

_PARTS: dict[str, type[Description]] = {"times": Times, "published": Published}


def _writable(value: Any) -> Any:
    """Tables as a file can hold them: what it cannot hold is named."""
    if isinstance(value, dict):
        return {str(key): _writable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    if isinstance(value, str | bool | int | float):
        return value
    return described_function(value if callable(value) else type(value))


def check_beside(task: dict[str, Any]) -> None:
    """Refuses a task whose data are anywhere but in the folder of the text that names it."""
    path = task.get("path")
    if isinstance(path, str) and Path(path).name != path:
        raise InputError("task.path", path, "should name a file in the same folder")
