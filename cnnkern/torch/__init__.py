"""The door to PyTorch: `torch.compile(module, backend="cnnkern")`, and `from_module` for an executable.

    compiled = torch.compile(torchvision.models.resnet50().eval(), backend="cnnkern")
    with torch.inference_mode():
        y = compiled(x)

What PyTorch traces becomes one graph of cnnkern's, with the passes and plans of built-in networks; operations that
cnnkern does not have stay in PyTorch, and the graph is cut at their borders. Tensors pass without copying, in the
layout (contiguous or channels_last) that they have. Weights are folded and packed when a graph is compiled; at each
call of a compiled module they are recognised (address and PyTorch's own count of changes), and a changed one compiles
the graph again. Changes through `.data` in place, or through another library's view of the same memory, are not counted
nor noticed.

TorchDynamo looks at every layer and weight at each call, whatever the backend: 0.1 ms for mobilenet_v2, 0.6 when the
network has driven them out of the caches. `options={"guard_filter_fn":
torch.compiler.skip_guard_on_inbuilt_nn_modules_unsafe}` spares most of it where the module stays as it is,
`"check_weights": False` our own part, 0.1 to 0.2 ms; `from_module` has neither.

For inference: where gradients are on, or batch norm or dropout is in training mode, PyTorch runs the graph itself and a
warning says so once. float32 only; other types stay in PyTorch. `import cnnkern` does not import torch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f"cnnkern.torch needs PyTorch ({error}): pip install 'cnnkern[torch]'") from error

from ..backends import warn_once

if TYPE_CHECKING:
    from .module import ModuleExecutable

__all__ = ["backend", "from_module"]

OPTIONS = ("backend", "threads", "precision", "free_weights", "autotune", "check_weights", "explain")


def backend(gm: torch.fx.GraphModule, example_inputs: Sequence[Any], *, mode: Any = None, options=None) -> Callable:
    """What `torch.compile(..., backend="cnnkern")` calls for each graph that it finds.

    Args:
        gm, example_inputs: as every backend of TorchDynamo gets them.
        mode: accepted for torch.compile's sake; there is nothing to choose.
        options: of `torch.compile`, all may be left out:
            backend, threads, precision, free_weights, autotune: as `Model.compile` takes them.
            check_weights: False leaves out the check for changed weights, 0.1 to 0.5 microseconds a tensor and
                call.
            explain: True writes to stderr what runs on cnnkern and what stays in PyTorch, and why.
    Returns:
        A function of the graph's inputs; `.programs` holds what was made.
    Raises:
        ValueError: an option that there is not.
    Example:
        >>> compiled = torch.compile(module.eval(), backend="cnnkern", options={"threads": 2})
    """
    from .compiled import CompiledGraph

    options = checked_options(options)
    given = [value for value in example_inputs if isinstance(value, torch.Tensor)]
    if torch.is_grad_enabled() and any(value.requires_grad for value in given):
        message = "gradients are on, so PyTorch runs this network: call it under torch.inference_mode()"
        return _stay(gm, "grad", message, options)
    strange = [type(value).__name__ for value in given if not _plain(value)]
    if strange:
        return _stay(gm, ("type", strange[0]), f"PyTorch runs what works on tensors of type {strange[0]}", options)
    holders = [node for node in gm.graph.nodes if node.op == "placeholder"]
    frozen = [_is_weight(node, value) for node, value in zip(holders, example_inputs)]
    names = [_weight_name(node) if still else node.name for node, still in zip(holders, frozen)]
    varies = any(isinstance(value, torch.SymInt) for value in example_inputs)
    return CompiledGraph(gm, frozen, names, options, varies)


def from_module(
    module: torch.nn.Module,
    example_inputs: Any,
    *,
    explain: bool = False,
    **options: Any,
) -> ModuleExecutable:
    """A module as an executable, without TorchDynamo: for inputs of the examples' shapes.

    Args:
        module: in eval mode; its forward must not decide by tensors' values.
        example_inputs: a tensor or NumPy array, a sequence of forward's arguments, or a mapping of them by name. Their
            values do not matter.
        explain: write to stderr what runs on cnnkern and what stays in PyTorch, and why.
        options: backend, threads, precision, free_weights, autotune: as `Model.compile` takes them; check_weights:
            True looks at each call whether a weight was changed in place, and compiles again if so.
    Returns:
        A `ModuleExecutable`: call it with tensors or arrays of these shapes and get the module's result, of the same
        kind; no gradient flows back. Where the whole module runs on cnnkern in one piece it has `.plan`, `.profile(x)`
        and `.count(x)` too. Weights are taken as they are now: after a change make another executable, or see
        `check_weights`, which notices changes in place, but no parameter or layer put in another's place.
    Raises:
        TypeError, ValueError: what is no module, an option that there is not; a module in training mode.
        cnnkern.UnsupportedError: PyTorch cannot trace it; the message says why.
    Example:
        >>> run = cnnkern.torch.from_module(torchvision.models.resnet50().eval(), torch.zeros(1, 3, 224, 224))
        >>> run(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 1000])
    """
    from .module import ModuleExecutable

    options = {"check_weights": False, **options, "explain": explain}
    return ModuleExecutable(module, example_inputs, checked_options(options))


def checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    options = dict(options or {})
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(f"options: {', '.join(OPTIONS)} are accepted, got {', '.join(map(repr, unknown))}")
    return options


def say(text: str, options: Mapping[str, Any]) -> None:
    if options.get("explain"):
        print(text, file=sys.stderr, flush=True)


def _stay(gm: torch.fx.GraphModule, key: Any, message: str, options: Mapping[str, Any]) -> Callable:
    """The graph as PyTorch runs it."""
    warn_once(("torch", key), message)
    say(f"cnnkern.torch: 0 pieces on cnnkern; {message}", options)
    return gm.forward


def _plain(tensor: torch.Tensor) -> bool:
    """Neither a subclass nor anything but a dense array of one device's."""
    kinds = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    return type(tensor) in kinds and tensor.layout == torch.strided and tensor.device.type in ("cpu", "cuda")


def _source(node: torch.fx.Node) -> str:
    """Where TorchDynamo found an input, such as "L['self']._modules['conv1']._parameters['weight']"."""
    name = getattr(getattr(node.meta.get("grapharg"), "source", None), "name", "")
    return name() if callable(name) else name


def _is_weight(node: torch.fx.Node, value: Any) -> bool:
    if not isinstance(value, torch.Tensor):
        return False
    held = isinstance(value, torch.nn.Parameter) or "_dynamo_static_input_type" in node.meta.get("tensor_dict", {})
    return held or "._parameters[" in _source(node) or "._buffers[" in _source(node)


def _weight_name(node: torch.fx.Node) -> str:
    """The weight's name in its module, "conv1.weight"."""
    _, _, path = _source(node).partition("']")
    return ".".join(re.findall(r"\['([^']+)'\]", path)) or node.name
