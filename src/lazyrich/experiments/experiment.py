"""An experiment: a frozen description that identifies a run exactly."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import tomli_w
from annotated_types import Ge, Gt

from .._core.description import Description, unknown_key
from .._core.errors import InputError
from .._core.files import contents, replacing
from .._core.given import path_of
from .._core.keys import at_key, dotted
from .._core.precision import PrecisionName
from .._core.shown import as_html, rows
from .._core.toml import MAX_BYTES, parse_toml, writable
from ..dynamics import AbstractDynamics, ReducedFlow, Times
from ..dynamics._default import default_dynamics
from ..losses import AbstractLoss, Logistic
from ..models import AbstractModel, DiagonalLinear
from ..probes import BUILT_IN, ON_REQUEST, AbstractProbe
from ..probes._base import check_probes
from ..tasks import AbstractTask
from ..tasks._array_task import AbstractArrayTask, array_task
from .changes import check_read_again, check_same_folder, first_parts, set_keys, with_data_changes
from .identity import FIRST_DEFAULT_PROBES, explicit
from .published import Published


def _help(words: str) -> Any:
    """A field with its text in the help of the command line."""
    return pydantic.Field(description=words)


class Experiment(Description):
    r"""Task, model, loss, scales, dynamics, probes and seed.

    - **Takes** `task`, `model`, `loss`; `dynamics`, by default the exact reduction if the model
        has one, otherwise [`Flow`][lazyrich.dynamics.Flow]; `init_scale`, the factor $\alpha$ of
        the initial parameters; `weight_decay`, the $\lambda$ of $\mathcal L +
        \frac\lambda2 \|\theta\|^2$; `decayed`, the parameters in this norm: `all`, or `matrices`,
        which leaves out biases, gains and shifts (see `is_matrix` of a model); `divide_loss`,
        whether to descend $\mathcal L / \alpha_\text{out}^2$ instead of $\mathcal L$, where
        $\alpha_\text{out}$ is the model's `output_scale`; `t1`, the last time, in gradient-flow
        time; `times`, when to record; `probes`, what to record, by name or your own; `seed` of the
        data and the parameters; `precision`, the type of parameters, data and derivatives,
        `float64` or `float32`; `name`, any text; `published`, numbers to compare with.
    - With `divide_loss`, $t$ is the flow time of the divided loss. Kernels grow like
        $\alpha_\text{out}^2$, so at equal early times runs of all scales are alike. A
        learning rate of $\eta_0 / \alpha_\text{out}^2$ on $\mathcal L$ is the learning rate
        $\eta_0$ on the divided loss, and $t = \eta_0 \times$ step. Recorded losses are never
        divided.
    - **Raises** [`InputError`][lazyrich.InputError] with the key, the value and the accepted
        values.
    """

    task: AbstractTask
    model: AbstractModel = DiagonalLinear()
    loss: AbstractLoss = Logistic()
    init_scale: Annotated[float, Gt(0), _help("alpha, multiplies the parameters")] = 1.0
    weight_decay: Annotated[float, Ge(0), _help("lambda in loss + (lambda/2) |theta|^2")] = 0.0
    decayed: Annotated[
        Literal["all", "matrices"],
        _help("all parameters, or matrices: not biases, gains and shifts"),
    ] = "all"
    divide_loss: Annotated[bool, _help("divide the loss by output_scale^2: true or false")] = False
    t1: Annotated[float, Gt(0), _help("horizon, in flow time (learning rate x steps)")] = 1e4
    seed: Annotated[int, Ge(0), pydantic.Field(lt=2**63), _help("fixes data and parameters")] = 0
    precision: Annotated[PrecisionName, _help("of parameters and data: float64 or float32")] = (
        "float64"
    )
    dynamics: AbstractDynamics = ReducedFlow()
    times: Annotated[Times, _help("when to record")] = Times()
    probes: Annotated[
        tuple[str | AbstractProbe, ...], _help("names of probes; --set probes=+NAME adds one")
    ] = tuple(BUILT_IN)
    name: Annotated[str, _help("free text")] = "experiment"
    published: Published | None = None
    not_offered: ClassVar[tuple[str, ...]] = ("published",)

    def model_post_init(self, context: object) -> None:
        del context
        if "dynamics" not in self.model_fields_set:
            self.__dict__["dynamics"] = default_dynamics(self.model)
        if not self.dynamics.can_follow(self.model):
            kind, model = type(self.dynamics).__name__, type(self.model).__name__
            accepted = f"does not support model {model}; leave dynamics out, or use Flow"
            raise InputError("dynamics.kind", kind, accepted)
        self.dynamics.check_derivatives(self.model)
        if self.precision != "float64":
            why = self.dynamics.needs_double(self.weight_decay)
            if why:
                kind = type(self.dynamics).__name__
                accepted = f"should be float64, because {kind} {why}"
                raise InputError("precision", self.precision, accepted)
        _ = self.loss_divisor

    @pydantic.field_validator("probes", mode="before")
    @classmethod
    def _known_probes(cls, value: Any) -> Any:
        check_probes(value, _PROBES)
        return tuple(value)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], folder: Path | None = None) -> "Experiment":
        """Builds an experiment from nested tables, such as a parsed TOML file in `folder`."""
        fields = dict(table)
        task = fields.get("task")
        if folder is not None and isinstance(task, dict):
            try:
                fields["task"] = array_task(task, folder) or task
            except InputError as error:
                raise error.under("task") from None
        model = fields.get("model")
        if isinstance(model, dict) and ":" in str(kind := model.get("kind")):
            accepted = (
                "is code, and a file cannot make lazyrich run code: add "
                "--set model=module:function, or in Python Experiment.load(path, model=...)"
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
    def load(
        cls,
        path: str | os.PathLike[str],
        changes: Mapping[str, Any] | None = None,
        **replaced: Any,
    ) -> "Experiment":
        """Reads a TOML file. A path to arrays in the file is relative to the file's folder.

        - **Takes** `changes` by dotted key, as `with_changes` does. Those of a task with a `path`
            are made before its data are read, so they can say how to read them, such as
            `task.label`. `replaced`, fields that replace those of the file, such as `model=` for
            a model of your own, which no file can contain.
        """
        path = path_of("experiment", path)
        try:
            text = contents(path, MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            accepted = f"should be a readable file ({error})"
            raise InputError("experiment", str(path), accepted) from None
        return cls.from_toml(text, path.parent, str(path), changes=changes or {}, **replaced)

    @classmethod
    def from_toml(
        cls,
        text: str,
        folder: Path,
        key: str = "toml",
        *,
        same_folder: bool = False,
        changes: Mapping[str, Any] = MappingProxyType({}),
        **replaced: Any,
    ) -> "Experiment":
        """Parses the text of a TOML file in `folder`, with `changes` and `replaced` as for `load`.

        With `same_folder`, for text from an unknown source, its arrays must be in `folder` itself.
        """
        try:
            table = parse_toml(text)
        except ValueError as error:
            raise InputError("experiment", key, f"is not valid TOML: {error}") from None
        task = table.get("task")
        if same_folder and isinstance(task, dict):
            check_same_folder(task)
        table, later = with_data_changes({**table, **replaced}, changes)
        found = cls.from_table(table, folder)
        return found.with_changes(later, Path()) if later else found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a TOML file that `load` reads without loss.

        Arrays are written to a `.npz` file of the same stem in the same folder.
        """
        path, arrays = path_of("path", path), None
        if isinstance(self.task, AbstractArrayTask):
            arrays = path.with_suffix(".npz")
            self.task.save(arrays)
        text = self.to_toml(None if arrays is None else arrays.name)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def to_toml(self, arrays_path: str | None = None) -> str:
        """The experiment as TOML. Arrays are given by `arrays_path` and their digest.

        - **Raises** [`InputError`][lazyrich.InputError] for a probe that is not built in.
        """
        table = self.table()
        for probe in self.probes:
            if not isinstance(probe, str):
                raise InputError(
                    "probes", probe.name, "only built-in probes can be written to a file"
                )
        table["probes"] = list(self.probes)
        if isinstance(self.task, AbstractArrayTask):
            table["task"] = self.task.named()
            if arrays_path is not None:
                table["task"]["path"] = arrays_path
        # Plain values first: in TOML, all lines after a table's header belong to the table.
        plain = writable(table)
        ordered = sorted(plain.items(), key=lambda item: isinstance(item[1], dict))
        return tomli_w.dumps(dict(ordered))

    def __str__(self) -> str:
        return rows(
            experiment=f"{self.name}, {self.content_hash[:8]}",
            task=repr(self.task),
            model=repr(self.model),
            loss=repr(self.loss),
            scales=f"init_scale {self.init_scale:g}, weight_decay {self.weight_decay:g}",
            dynamics=f"{type(self.dynamics).__name__} to t1 = {self.t1:g}, seed {self.seed}, "
            f"{self.precision}",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def description(self) -> str:
        """The experiment as TOML, without what a file cannot contain, such as own probes."""
        named = tuple(probe for probe in self.probes if isinstance(probe, str))
        return self.model_copy(update={"probes": named}).to_toml()

    @property
    def content_hash(self) -> str:
        """SHA-256 of everything that the computation depends on, as 64 hexadecimal digits.

        The hash leaves out `name` and `published`, which do not change the numbers, and every field
        with its default value. A field added later therefore does not change old hashes; in return
        a default never changes after its release. Functions, probes and kinds of your own are
        hashed by their code and by the contents of their fields, closures, defaults and globals.

        - **Raises** [`InputError`][lazyrich.InputError] for a function or an object of your own
            without permanent content, such as an open file, an iterator or a random state.
        """
        content = explicit(self.model_copy(update={"published": None}), "")
        content.pop("name", None)
        content.pop("published", None)
        if self.probes == FIRST_DEFAULT_PROBES:
            content.pop("probes")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def with_changes(self, changes: Mapping[str, Any], folder: Path | None = None) -> "Experiment":
        """The experiment with dotted keys such as `task.n` set to new values.

        A new `kind` drops the fields of the old kind. A `task.path` drops the fields of the old
        task, and is read if `folder` is given, to which the path is relative. Dynamics that do not
        support a new model are replaced by its default dynamics. Published numbers are dropped if a
        change affects anything but seed, name, precision, dynamics and recording.
        """
        changed = first_parts(changes)
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        table = {name: value for name, value in fields.items() if value is not None}
        if folder is None:
            check_read_again(changes, self.task.file_options)
        if "task.path" in changes:
            table["task"] = {}
        set_keys(table, changes, self.offered())
        unchanged = ("seed", "name", "precision", "dynamics", "times", "probes", "published")
        if not changed <= set(unchanged):
            table.pop("published", None)
        if "model" in changed and "dynamics" not in changed:
            # The old dynamics were not chosen for the new model, so its default can replace them.
            dynamics = table.pop("dynamics")
            found = type(self).from_table(table, folder)
            kept = dynamics.can_follow(found.model)
            return found.model_copy(update={"dynamics": dynamics}) if kept else found
        return type(self).from_table(table, folder)

    def with_data(self, folder: str | os.PathLike[str]) -> "Experiment | None":
        """The experiment with data from files in `folder`; None if its task reads no files."""
        task = self.task.with_data(str(Path(folder).resolve()))
        return None if task is None else self.model_copy(update={"task": task})

    def value(self, key: str) -> Any:
        """The value at a dotted key, which can be a table."""
        found = at_key(self, key, _NONE)
        if found is _NONE:
            raise unknown_key(key, None, self.keys())
        return found

    def keys(self) -> list[str]:
        """All dotted keys that `with_changes` accepts."""
        table = self.table()
        table.pop("published", None)
        return dotted(table)

    @property
    def loss_divisor(self) -> float:
        """The number by which the loss is divided for the descent."""
        if not self.divide_loss:
            return 1.0
        scale = self.model.alpha_out
        if scale is None:
            accepted = (
                f"needs a model with an output_scale, but {type(self.model).__name__} has none"
            )
            raise InputError("divide_loss", True, accepted)
        return scale**2

    @property
    def decays_partly(self) -> bool:
        """Whether weight decay leaves out some parameters because of `decayed`."""
        return self.decayed == "matrices" and self.model.has_biases

    @property
    def homogeneity(self) -> int | float | None:
        """The degree of the model in its parameters, if all of them decay; otherwise None."""
        return None if self.decays_partly else self.model.homogeneity

    @property
    def time_axis(self) -> tuple[str, str]:
        """The long name and the unit of the times in a record."""
        if self.dynamics.in_log_time:
            return "log10 of one plus gradient-flow time", "log10(1 + t)"
        return "gradient-flow time", "1"

    @property
    def probe_modules(self) -> tuple[AbstractProbe, ...]:
        """The probes as objects; names are looked up."""
        return tuple(_PROBES[probe] if isinstance(probe, str) else probe for probe in self.probes)


def check_experiment(value: object) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `value` is an experiment."""
    if not isinstance(value, Experiment):
        accepted = "should be an lr.Experiment, such as lr.Experiment(task=...)"
        raise InputError("experiment", value, accepted)


_PROBES = BUILT_IN | ON_REQUEST

_NONE = object()

_PARTS: dict[str, type[Description]] = {"times": Times, "published": Published}
