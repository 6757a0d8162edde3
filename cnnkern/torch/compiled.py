"""A graph of TorchDynamo's on cnnkern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx

from ..backends import warn_once
from . import say
from .execute import Program, Programs
from .trace import Untraceable

MANY = 8  # so many compilations without a second call between them: weights change at every call


class CompiledGraph:
    """What `torch.compile` calls instead of a graph.

    Attributes: `programs`, by shape; `program`, the one used last, None where PyTorch runs the graph.
    """

    def __init__(self, gm: fx.GraphModule, frozen, names, options: Mapping[str, Any], varies: bool):
        self._gm, self._options = gm, options
        self.programs = Programs("graph", gm.forward, frozen, names, options, varies)
        self._given_up = False
        self._in_vain = 0

    @property
    def program(self) -> Program | None:
        return None if self._given_up else self.programs.program

    def __call__(self, *arguments: Any) -> Any:
        if self._given_up:
            return self._gm.forward(*arguments)
        programs = self.programs
        made = programs.made
        try:
            program = programs.get(arguments)
        except Untraceable as error:
            return self._give_up(arguments, str(error))
        if programs.made != made:
            say(program.explanation(), self._options)
            self._in_vain += 1
            if self._in_vain > MANY and not programs.varies:
                return self._give_up(arguments, "its weights change at every call")
        elif self._in_vain:
            self._in_vain = 0
        return program.run(arguments)

    def _give_up(self, arguments, why: str) -> Any:
        self._given_up = True
        warn_once(("torch", why), f"PyTorch runs this network: {why}")
        say(f"cnnkern.torch: 0 pieces on cnnkern; {why}", self._options)
        return self._gm.forward(*arguments)
