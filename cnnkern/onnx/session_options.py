"""What a session and a run of it may be told: onnxruntime's options by onnxruntime's names.

Some mean the same here (threads, free dimensions, profiling, logging), some have nothing to act on (arenas, memory
patterns: a plan has one arena, laid out when it is made), and some cannot be served, which the call says. A name that
is not known is accepted with a warning, once per name and process: no script must fail over an option of speed.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from ..errors import InvalidArgument
from ..errors import NotImplemented as NotServed
from ..ops.checks import as_bool, as_int

_warned: set[str] = set()
_lock = threading.Lock()
_MAX_SEVERITY = 4  # onnxruntime's: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal


class GraphOptimizationLevel(IntEnum):
    """How much a graph may be changed before it runs. Here every level means all passes: they are what makes the plan,
    and each is tested against the graph without it."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Whether nodes may run side by side. Here each node uses all threads, one after the other, in both modes."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


def warn_once(key: str, message: str, stacklevel: int = 3) -> None:
    """A UserWarning, as onnxruntime's are, once per key and process."""
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    warnings.warn(f"cnnkern: {message}", UserWarning, stacklevel=stacklevel)


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, got {value!r} of type {type(value).__name__}")
    return value


def _path(argument: str, value: Any) -> str:
    return _text(argument, value.__fspath__() if hasattr(value, "__fspath__") else value)


def _count(argument: str, value: Any) -> int:
    return as_int(argument, value, 0)


def _flag(argument: str, value: Any) -> bool:
    return as_bool(argument, bool(value) if isinstance(value, int) and value in (0, 1) else value)


def _severity(argument: str, value: Any) -> int:
    if not -1 <= as_int(argument, value) <= _MAX_SEVERITY:
        raise ValueError(f"{argument} must be -1 (the default) or 0 (verbose) to 4 (fatal), got {value}")
    return as_int(argument, value)


_default_severity = 2  # as onnxruntime's: warnings


def set_default_logger_severity(severity: int) -> None:
    """What `log_severity_level` -1, the default of options, means from here on: 0 (a line per step) to 4.

    Example:
        >>> cnnkern.set_default_logger_severity(3)
    Source: onnxruntime's function of this name.
    """
    global _default_severity
    if (found := _severity("severity", severity)) < 0:
        raise InvalidArgument(f"severity must be 0 to 4, got {severity!r}")
    _default_severity = found


def default_severity() -> int:
    """What `set_default_logger_severity` last said."""
    return _default_severity


def _member(kind: type[IntEnum]) -> Callable[[str, Any], IntEnum]:
    def parse(argument: str, value: Any) -> IntEnum:
        try:
            return kind(value if isinstance(value, kind) else as_int(argument, value))
        except (TypeError, ValueError):
            names = ", ".join(kind.__members__)
            raise TypeError(f"{argument} must be a {kind.__name__} ({names}), got {value!r}") from None

    return parse


class _Options:
    """Fields that check what they are given, and entries of text by key."""

    _fields: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {}
    _entries: dict[str, str]

    def __init__(self) -> None:
        object.__setattr__(self, "_entries", {})
        for name, (default, _) in self._fields.items():
            object.__setattr__(self, name, default)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        if name in self._fields:
            value = self._fields[name][1](f"{kind}.{name}", value)
        elif not name.startswith("_"):
            warn_once(f"{kind}.{name}", f"{kind} has no field {name!r} here; it is kept and changes nothing")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        changed = [
            f"{name}={value!r}" for name, value in vars(self).items() if value != self._fields.get(name, (None,))[0]
        ]
        return f"{type(self).__name__}({', '.join(text for text in changed if not text.startswith('_'))})"

    def copied(self) -> Any:
        """The same options, which later changes of these do not reach."""
        return copy.deepcopy(self)

    def _add(self, key: Any, value: Any) -> None:
        self._entries[_text("key", key)] = _text("value", value)

    def _get(self, key: str) -> str:
        try:
            return self._entries[key]
        except KeyError:
            kind = type(self).__name__
            known = ", ".join(self._entries) or "none was added"
            raise InvalidArgument(f"{kind} has no entry of key {key!r}; known: {known}") from None


class SessionOptions(_Options):
    """How a session prepares and runs its model.

    Attributes:
        intra_op_num_threads: threads of every plan of this session; 0: cnnkern's own default.
        enable_profiling: write the time of every step as a trace that Chrome and Perfetto show.
        profile_file_prefix: what the trace's file name begins with.
        log_severity_level: 0 prints a line per step to stderr (`CNNKERN_VERBOSE`); -1 and 1 to 4 print none.
        log_verbosity_level: with severity 0, how much more a line says (1: why each kernel was chosen).
        logid, inter_op_num_threads, graph_optimization_level, execution_mode, enable_mem_pattern, enable_cpu_mem_arena,
            enable_mem_reuse, use_deterministic_compute, use_per_session_threads: kept, with nothing here to act on:
            results are the same bits for every number of threads anyway.
        optimized_model_filepath: no file is written; a session says so once.
    Raises:
        TypeError, ValueError: when a field is set to what it cannot be; the message says what it can.
    Example:
        >>> options = cnnkern.SessionOptions()
        >>> options.intra_op_num_threads = 2
        >>> session = cnnkern.InferenceSession("model.onnx", options)
    Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#sessionoptions.
    """

    intra_op_num_threads: int
    inter_op_num_threads: int
    graph_optimization_level: GraphOptimizationLevel
    execution_mode: ExecutionMode
    enable_profiling: bool
    profile_file_prefix: str
    log_severity_level: int
    log_verbosity_level: int
    logid: str
    enable_mem_pattern: bool
    enable_cpu_mem_arena: bool
    enable_mem_reuse: bool
    use_deterministic_compute: bool
    use_per_session_threads: bool
    optimized_model_filepath: str

    _fields = {
        "intra_op_num_threads": (0, _count),
        "inter_op_num_threads": (0, _count),
        "graph_optimization_level": (GraphOptimizationLevel.ORT_ENABLE_ALL, _member(GraphOptimizationLevel)),
        "execution_mode": (ExecutionMode.ORT_SEQUENTIAL, _member(ExecutionMode)),
        "enable_profiling": (False, _flag),
        "profile_file_prefix": ("onnxruntime_profile_", _path),
        "log_severity_level": (-1, _severity),
        "log_verbosity_level": (0, _count),
        "logid": ("", _text),
        "enable_mem_pattern": (True, _flag),
        "enable_cpu_mem_arena": (True, _flag),
        "enable_mem_reuse": (True, _flag),
        "use_deterministic_compute": (False, _flag),
        "use_per_session_threads": (True, _flag),
        "optimized_model_filepath": ("", _path),
    }

    def __init__(self) -> None:
        super().__init__()
        self._free_dimensions: dict[str, int] = {}

    @property
    def free_dimensions(self) -> dict[str, int]:
        """The symbols that were given a size, by name."""
        return dict(self._free_dimensions)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry for `get_session_config_entry`; none of onnxruntime's keys has a meaning here.

        Example:
            >>> options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        """
        self._add(key, value)

    def get_session_config_entry(self, key: str) -> str:
        """An entry that was added. Raises InvalidArgument (a RuntimeError too): there is none."""
        return self._get(key)

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Give a symbol of the model's shapes a size: `get_inputs` shows it and `run` takes no other.

        Example:
            >>> options.add_free_dimension_override_by_name("batch", 1)
        """
        self._free_dimensions[_text("name", name)] = as_int("size", size, 0)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Not served: a shape's denotations are not read. Raises NotImplemented."""
        raise NotServed(
            f"add_free_dimension_override_by_denotation({denotation!r}): a model's denotations are not read here; "
            "add_free_dimension_override_by_name takes a symbol"
        )

    def register_custom_ops_library(self, path: str) -> None:
        """Not served: such a library is compiled for onnxruntime's own interface. Raises NotImplemented."""
        raise NotServed(
            f"register_custom_ops_library({path!r}): a library of custom operations cannot be loaded here; "
            "a model may hold standard ONNX operations, and functions made of them"
        )

    def add_initializer(self, name: str, ort_value: Any) -> None:
        """Not served: weights come from the model's file. Raises NotImplemented."""
        raise NotServed(
            f"add_initializer({name!r}): weights are taken from the model alone; change them in the ModelProto that is "
            "loaded, or feed them to run where the model lists them as inputs"
        )

    def add_external_initializers(self, names: list[str], ort_values: list[Any]) -> None:
        """Not served, as `add_initializer`. Raises NotImplemented."""
        self.add_initializer(", ".join(map(str, names)), ort_values)


class RunOptions(_Options):
    """How one run goes.

    Attributes:
        log_severity_level, log_verbosity_level: as in SessionOptions, for this run.
        terminate: a run that is given True ends at once with Fail; one that has begun is not interrupted.
        logid, only_execute_path_to_fetches: kept; no run computes what none of the wanted outputs needs.
    Example:
        >>> options = cnnkern.RunOptions()
        >>> options.log_severity_level = 0
        >>> session.run(None, {"x": x}, options)
    Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#runoptions.
    """

    log_severity_level: int
    log_verbosity_level: int
    logid: str
    terminate: bool
    only_execute_path_to_fetches: bool

    _fields = {
        "log_severity_level": (-1, _severity),
        "log_verbosity_level": (0, _count),
        "logid": ("", _text),
        "terminate": (False, _flag),
        "only_execute_path_to_fetches": (False, _flag),
    }

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Keep an entry for `get_run_config_entry`; none of onnxruntime's keys has a meaning here."""
        self._add(key, value)

    def get_run_config_entry(self, key: str) -> str:
        """An entry that was added. Raises InvalidArgument (a RuntimeError too): there is none."""
        return self._get(key)

    def add_active_adapter(self, adapter: Any) -> None:
        """Not served: there are no LoRA adapters here. Raises NotImplemented."""
        raise NotServed("add_active_adapter: LoRA adapters are not served; merge them into the weights")
