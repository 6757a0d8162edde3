"""InferenceSession: onnxruntime's calls on cnnkern's kernels. A script changes its import alone:

    import cnnkern as ort          # was: import onnxruntime as ort

    session = ort.InferenceSession("resnet50.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"input": x})

Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#inferencesession. What differs
on purpose: messages say what was received and what is accepted, and nothing that is wrong goes through.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from .. import config
from ..errors import Fail, InvalidArgument
from ..graph.recent import Recent
from . import load
from .binding import IOBinding
from .ort_value import OrtValue, on_host
from .profiling import Trace
from .providers import Providers, resolve
from .session_errors import load_errors, run_errors
from .session_options import RunOptions, SessionOptions, default_severity, warn_once
from .session_ports import ModelMetadata, NodeArg

ASYNC_THREADS = 4  # runs of run_async at a time, of one session


class InferenceSession:
    """An ONNX model, ready to run. One session serves many threads at once: each run has its own memory.

    Args:
        path_or_bytes: the model's file, or its bytes; external data is looked for beside the file.
        sess_options: a SessionOptions; a copy is kept.
        providers: "CPUExecutionProvider" and "CUDAExecutionProvider", or (name, options) pairs, the most wanted first;
            None: the CPU. Names that are not available are said once and passed over.
        provider_options: a mapping for each of `providers`, where those are names.
    Raises:
        NoSuchFile (a FileNotFoundError), InvalidProtobuf, InvalidGraph and Fail (each a ModelError), InvalidArgument
        (a ValueError), NotImplemented (an UnsupportedError): onnxruntime's classes by name, in `cnnkern.errors`.
        TypeError: what is no model. ImportError: onnx is not installed.
    Example:
        >>> session = cnnkern.InferenceSession("resnet50.onnx", providers=["CPUExecutionProvider"])
        >>> name = session.get_inputs()[0].name
        >>> (scores,) = session.run(None, {name: np.zeros((1, 3, 224, 224), np.float32)})
    Source: onnxruntime's class of this name.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, Mapping[Any, Any]]] | None = None,
        provider_options: Sequence[Mapping[Any, Any]] | None = None,
        **kwargs: Any,
    ):
        if sess_options is not None and not isinstance(sess_options, SessionOptions):
            raise TypeError(f"sess_options must be a cnnkern.SessionOptions, got {type(sess_options).__name__}")
        for name in kwargs:
            warn_once(f"InferenceSession {name}", f"InferenceSession has no option {name!r} here; it changes nothing")
        self._options: SessionOptions = (sess_options or SessionOptions()).copied()
        if self._options.optimized_model_filepath:
            warn_once("optimized_model_filepath", "no optimized model is written: a plan is no ONNX file")
        self._entries = Recent()
        self._blocks: dict[int, config.overrides] = {}  # of settings, by how much is said
        self._trace = Trace(self._options.profile_file_prefix) if self._options.enable_profiling else None
        if self._trace is not None:
            weakref.finalize(self, self._trace.close)  # a script that does not end_profiling finds its file too
        self._providers: Providers = resolve(providers, provider_options)
        with load_errors(path_or_bytes), self._settings(None):
            read = partial(load, path_or_bytes)
            self._model = read() if self._trace is None else self._trace.call("model_loading", read)

        def args(ports: Iterable[Any]) -> list[NodeArg]:
            sizes = self._options.free_dimensions
            return [NodeArg(port.name, port.dtype, port.shape, sizes) for port in ports]

        self._ports = {arg.name: arg for arg in args(self._model.inputs)}
        self._overridable = {arg.name: arg for arg in args(self._model.overridable)}
        self._outputs = args(self._model.outputs)
        self._output_names = [port.name for port in self._outputs]
        with load_errors(path_or_bytes), self._settings(None):
            shapes = [arg.shape for arg in self._ports.values()]
            plan = partial(self._model.prepare, shapes, self._providers.backend)
            plan() if self._trace is None else self._trace.call("session_initialization", plan)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    # --- what it is

    def get_inputs(self) -> list[NodeArg]:
        """The inputs that `run` must be given. Example: `session.get_inputs()[0].shape` is `["N", 3, 224, 224]`."""
        return list(self._ports.values())

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the order in which `run(None, ...)` returns them."""
        return list(self._outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Weights that the model also lists as inputs: `run` may be given others."""
        return list(self._overridable.values())

    def get_modelmeta(self) -> ModelMetadata:
        """Who made the model, and what it says of itself."""
        return ModelMetadata(self._model.metadata)

    def get_session_options(self) -> SessionOptions:
        """A copy of the options that this session was made with."""
        return self._options.copied()

    def get_providers(self) -> list[str]:
        """Where it runs, as execution providers; the first is used."""
        return self._providers.names

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Execution provider -> its options."""
        return {name: dict(options) for name, options in self._providers.options.items()}

    def set_providers(
        self,
        providers: Sequence[str | tuple[str, Mapping[Any, Any]]] | None = None,
        provider_options: Sequence[Mapping[Any, Any]] | None = None,
    ) -> None:
        """Run elsewhere from now on.

        Raises:
            InvalidArgument: a provider that is not available; the session stays where it was.
        """
        self._providers = resolve(providers, provider_options, unknown_is_error=True)
        self._entries.clear()

    def disable_fallback(self) -> None:
        """Nothing to switch off: a run that fails is not tried again on another provider."""

    def enable_fallback(self) -> None:
        """Accepted; see `disable_fallback`."""

    # --- running

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[np.ndarray]:
        """One inference.

        Args:
            output_names: what to return, in this order; None or none: all outputs in the model's order.
            input_feed: input name -> NumPy array of the model's dtype and shape (any strides); lists and OrtValues are
                taken too.
            run_options: of this run alone.
        Returns:
            A list of fresh arrays.
        Raises:
            InvalidArgument: missing or unknown inputs, unknown outputs, a wrong type, rank or size; it is a ValueError
            and a RuntimeError. Fail: the run was told to end, or the shapes do not go together inside the model.
            TypeError: no mapping, no sequence of names, no RunOptions.
        Example:
            >>> session.run(["scores"], {"input": x})[0].argmax()
        """
        feeds = self._feeds(input_feed)
        names = None if output_names is None else self._wanted(output_names)
        return list(map(on_host, self._run(names, feeds, run_options)))

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """As `run`, from OrtValues to OrtValues.

        Example:
            >>> (y,) = session.run_with_ort_values(["y"], {"x": cnnkern.OrtValue.ortvalue_from_numpy(x)})
        """
        if not isinstance(input_dict_ort_values, Mapping):
            raise TypeError(f"input_dict_ort_values must be a mapping, got {type(input_dict_ort_values).__name__}")
        for name, value in input_dict_ort_values.items():
            if not isinstance(value, OrtValue):
                raise TypeError(f"input {name!r}: an OrtValue is accepted, got {type(value).__name__}")
        return list(map(OrtValue, self.run(output_names, input_dict_ort_values, run_options)))

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[np.ndarray], Any, str], Any],
        user_data: Any,
        run_options: RunOptions | None = None,
    ) -> None:
        """Start a run and return; `callback(results, user_data, error)` is called from another thread when it ends:
        `error` is empty, or says why there are no results. The arrays must not change until then.

        Raises:
            InvalidArgument: missing or unknown inputs; all else reaches the callback.
        """
        self._check_names(input_feed)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(ASYNC_THREADS, "cnnkern-session")

        def work() -> None:
            try:
                results, error = self.run(output_names, input_feed, run_options), ""
            except Exception as why:
                results, error = [], str(why) or type(why).__name__
            callback(results, user_data, error)

        self._pool.submit(work)

    def io_binding(self) -> IOBinding:
        """A fresh binding of inputs and outputs; see `IOBinding`."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run on what is bound, and leave the results where the binding says.

        Raises:
            InvalidArgument: as `run`; memory bound to an output that has another type or shape than this run makes
            (nothing is written then); no output bound. ValueError: a binding of another session.
        """
        if not isinstance(iobinding, IOBinding):
            raise TypeError(f"iobinding must be this session's io_binding(), got {type(iobinding).__name__}")
        if iobinding._session is not self:
            raise ValueError("iobinding must be this session's own, got one of another session")
        names = iobinding.output_names
        feeds = self._feeds(iobinding.feeds(self._providers.cuda))
        iobinding.take(self._run(names, feeds, run_options))

    def end_profiling(self) -> str:
        """Write what was measured so far as a JSON trace (Chrome's chrome://tracing and Perfetto show it).

        Returns:
            The file's name; empty without SessionOptions.enable_profiling, and the second time.
        Raises:
            OSError: the file cannot be written.
        """
        return "" if self._trace is None else self._trace.write()

    def get_profiling_start_time_ns(self) -> int:
        """The moment that is 0 in the trace, on the clock of `time.perf_counter_ns`; 0 where none is kept."""
        return 0 if self._trace is None else self._trace.start_ns

    # --- inside

    def _feeds(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every input by name, as the model runs on it."""
        ports = self._ports
        try:
            feeds = {name: port.accepted(given[name]) for name, port in ports.items()}
        except (KeyError, TypeError, IndexError):
            self._check_names(given)
            raise
        if len(given) != len(feeds):
            self._check_names(given)
            feeds.update((name, self._overridable[name].accepted(given[name])) for name in given if name not in ports)
        return feeds

    def _check_names(self, given: Any) -> None:
        """Raises: InvalidArgument where inputs are missing or not known, TypeError for what is no mapping."""
        if not isinstance(given, Mapping):
            raise TypeError(f"input_feed must be a mapping from input names to arrays, got {type(given).__name__}")
        known = ", ".join(map(repr, [*self._ports, *self._overridable])) or "none"
        there = ", ".join(map(repr, given)) or "none"
        missing = [name for name in self._ports if name not in given]
        if missing:
            raise InvalidArgument(f"input_feed lacks {', '.join(map(repr, missing))}; it has {there}")
        unknown = [name for name in given if name not in self._ports and name not in self._overridable]
        if unknown:
            raise InvalidArgument(f"the model has no input {', '.join(map(repr, unknown))}; its inputs are {known}")

    def _wanted(self, names: Sequence[str]) -> list[str] | None:
        """The outputs that are asked for; None for all."""
        if isinstance(names, (str, bytes)) or not isinstance(names, Sequence):
            raise TypeError(f"output_names must be a sequence of names or None, got {names!r}")
        unknown = [name for name in names if name not in self._output_names]
        if unknown:
            known = ", ".join(map(repr, self._output_names))
            raise InvalidArgument(f"the model has no output {', '.join(map(repr, unknown))}; its outputs are {known}")
        return list(names) if len(names) else None

    def _run(self, names: list[str] | None, feeds: Mapping[str, Any], run_options: RunOptions | None) -> list[Any]:
        if run_options is not None:
            if not isinstance(run_options, RunOptions):
                raise TypeError(f"run_options must be a cnnkern.RunOptions, got {type(run_options).__name__}")
            if run_options.terminate:
                raise Fail("the run was ended: RunOptions.terminate is True")
        arrays = list(feeds.values())
        with run_errors:
            if run_options is None and (entry := self._usual(names, arrays)) is not None:
                return entry(arrays)
        once = names if names is None or len(names) == 1 else list(dict.fromkeys(names))
        with run_errors, self._settings(run_options):
            backend = self._providers.backend
            if self._trace is None:
                results = self._model.run(feeds, once, backend=backend)
            else:
                results = self._trace.call("model_run", lambda: self._model.run(feeds, once, backend=backend))
        if once is None or len(once) == len(names):
            return results
        by_name = dict(zip(once, results))
        return [by_name[name] for name in names]

    def _usual(self, names: list[str] | None, arrays: list[Any]) -> Callable | None:
        """The function for such a run, kept, where nothing but shapes matters and nothing is to be said or measured: it
        was planned under the session's settings, and needs them no more."""
        if self._trace is not None or len(arrays) != len(self._ports) or self._verbose(None):
            return None
        if any(type(array) is not np.ndarray for array in arrays):
            return None
        key = (names and tuple(names), tuple([array.shape for array in arrays]), config.in_force())
        entry = self._entries.get(key)
        if entry is None:
            with self._settings(None):
                entry = self._model.entry(arrays, names, self._providers.backend)
            self._entries.keep(key, entry)
        return entry

    def _verbose(self, run_options: RunOptions | None) -> int:
        wordy = self._options if run_options is None or run_options.log_severity_level else run_options
        level = wordy.log_severity_level
        return 1 + wordy.log_verbosity_level if (default_severity() if level < 0 else level) == 0 else 0

    def _settings(self, run_options: RunOptions | None) -> config.overrides:
        """The session's threads and wordiness, around what it does."""
        verbose = self._verbose(run_options)
        block = self._blocks.get(verbose)
        if block is None:
            said = {"num_threads": self._options.intra_op_num_threads, "verbose": verbose}
            block = config.overrides(**{name: value for name, value in said.items() if value})
            self._blocks[verbose] = block
        return block.again()

    def _synchronize(self) -> None:
        if self._providers.cuda is not None:
            self._providers.cuda.runtime().synchronize()
