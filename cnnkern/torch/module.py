"""A PyTorch module as an executable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ..backends import warn_once
from ..errors import UnsupportedError
from ..graph.executor import Executable
from ..graph.plan import Plan
from . import say
from .execute import Program, Programs
from .trace import Untraceable


class ModuleExecutable:
    """A module bound to the shapes of its inputs. Call it; concurrent calls are safe.

    Attributes:
        pieces: the `Executable` of each piece on cnnkern.
        left: (operation, how many, why) for what stays in PyTorch.
        explanation: both in words.
        plan: of the one piece that the module is.
    """

    def __init__(self, module: torch.nn.Module, example_inputs: Any, options: Mapping[str, Any]):
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        training = next((name or "the module" for name, part in module.named_modules() if part.training), None)
        if training:
            raise ValueError(f"module must be in eval mode, and {training} is in training mode: call module.eval()")
        self._options = options
        self._tree, examples = _flat(_arguments(example_inputs))
        self._examples = [(tuple(x.shape), x.dtype) if isinstance(x, torch.Tensor) else x for x in examples]
        self._weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._tensors = list(self._weights.values())
        self._result: Any = None  # the structure of what forward returns
        self._plainly: tuple | None = None  # (shape, dtype), where it is one tensor for one tensor

        def function(*flat):
            state = dict(zip(self._weights, flat))
            args, kwargs = pytree.tree_unflatten(list(flat[len(self._weights) :]), self._tree)
            results, self._result = pytree.tree_flatten(torch.func.functional_call(module, state, args, kwargs))
            return tuple(results)

        frozen = [True] * len(self._tensors) + [False] * len(examples)
        names = [*self._weights, *(f"input{i}" for i in range(len(examples)))]
        self._programs = Programs(type(module).__name__, function, frozen, names, options, False)
        say(self._get([*self._tensors, *examples]).explanation(), options)
        alone = self._tree == _flat(((0,), {}))[0] and self._result == pytree.tree_flatten(0)[1]
        self._plainly = self._examples[0] if alone and isinstance(self._examples[0], tuple) else None
        self._piece = None if options["check_weights"] else self._programs.program.piece_of(len(self._tensors))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result for inputs of the compiled shapes: tensors for tensors, NumPy arrays for NumPy arrays.

        Raises:
            TypeError, ValueError: what is wrong with an input.
        """
        if self._plainly is not None and not kwargs and len(args) == 1 and type(args[0]) is torch.Tensor:
            x, (shape, dtype) = args[0], self._plainly  # by far the most frequent call needs no trees
            if x.shape == shape and x.dtype is dtype and not x.requires_grad:
                if self._piece is not None:
                    return self._piece([x])[0]
                arguments = [*self._tensors, x]
                return self._programs.get(arguments).run(arguments)[0]
        arguments, as_numpy = self._checked(args, kwargs)
        results = self._get(arguments).run(arguments)
        if as_numpy:
            results = [result.numpy() if isinstance(result, torch.Tensor) else result for result in results]
        return pytree.tree_unflatten(results, self._result)

    @property
    def pieces(self) -> list[Executable]:
        return list(self._programs.program.executables)

    @property
    def left(self) -> list[tuple[str, int, str]]:
        return list(self._programs.program.left)

    @property
    def explanation(self) -> str:
        return self._programs.program.explanation()

    @property
    def plan(self) -> Plan:
        return self._whole().plan

    def profile(self, *args: Any, rounds: int = 1, **kwargs: Any) -> list[dict[str, Any]]:
        """As `Executable.profile`."""
        return self._whole().profile(self._arrays(args, kwargs), rounds)

    def count(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """As `Executable.count`."""
        return self._whole().count(self._arrays(args, kwargs))

    def _whole(self) -> Executable:
        program = self._programs.program
        if program.whole is None or program.whole.executable is None:
            raise UnsupportedError(f"there is no one plan of the whole module, see .pieces: {self.explanation}")
        return program.whole.executable

    def _arrays(self, args, kwargs) -> list[Any]:
        arguments, _ = self._checked(args, kwargs)
        return self._get(arguments).inputs(arguments)

    def _get(self, arguments: Sequence[Any]) -> Program:
        try:
            return self._programs.get(arguments)
        except Untraceable as error:
            raise UnsupportedError(f"this module cannot be made an executable: {error}") from error

    def _checked(self, args, kwargs) -> tuple[list[Any], bool]:
        tree, given = _flat((args, kwargs))
        if tree != self._tree:
            wanted = f"{len(self._examples)} as in example_inputs are accepted"
            raise TypeError(f"inputs: {wanted}, got {len(given)}: {tree}")
        for i, (value, example) in enumerate(zip(given, self._examples)):
            name = "x" if len(given) == 1 else f"input {i}"
            if not isinstance(example, tuple):
                if isinstance(value, torch.Tensor) or value != example:
                    raise ValueError(f"{name}: compiled for {example!r}, got {value!r}")
                continue
            shape, dtype = example
            if not isinstance(value, torch.Tensor) or value.dtype != dtype:
                kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
                raise TypeError(f"{name}: a tensor or array of {dtype} is accepted, got {kind}")
            if tuple(value.shape) != shape:
                raise ValueError(f"{name}: the compiled shape {shape} is accepted, got {tuple(value.shape)}")
        if torch.is_grad_enabled() and any(isinstance(v, torch.Tensor) and v.requires_grad for v in given):
            warn_once(("torch", "from_module"), "results of a from_module executable carry no gradient")
        leaves = pytree.tree_leaves((args, kwargs))
        return [*self._tensors, *given], any(isinstance(leaf, np.ndarray) for leaf in leaves)


def _arguments(example_inputs: Any) -> tuple[tuple, dict]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    return (example_inputs,), {}


def _flat(arguments: Any) -> tuple[Any, list[Any]]:
    """(structure, values) of arguments, arrays as tensors on the same memory."""
    leaves, tree = pytree.tree_flatten(arguments)
    return tree, [torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]
