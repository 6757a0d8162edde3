"""Element-wise operations: activations, functions of one array and of two."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Shape, Spec, io_bytes, product
from .checks import as_choice, as_float, check_shape, check_size

# Operations per element. An elementary function (exp, tanh, erf) or a division is one `special`:
# sigmoid = 1 / (1 + exp(-x)); gelu = x/2 (1 + erf(x / sqrt 2)); hardsigmoid = clamp(x/6 + 1/2, 0, 1).
ACTIVATIONS: dict[str, Counts] = {
    "relu": Counts(max=1),
    "relu6": Counts(max=2),
    "leaky_relu": Counts(mul=1, max=1),
    "sigmoid": Counts(add=1, special=2),
    "tanh": Counts(special=1),
    "silu": Counts(mul=1, add=1, special=2),
    "hardswish": Counts(fma=1, mul=1, max=2),
    "hardsigmoid": Counts(fma=1, max=2),
    "gelu": Counts(mul=3, add=1, special=1),
}
LEAKY_SLOPE = 0.01

# The functions that are no activation a kernel fuses, with their parameters' names and operations per element.
UNARY: dict[str, tuple[tuple[str, ...], Counts]] = {
    "neg": ((), Counts(add=1)),
    "abs": ((), Counts(max=1)),
    "sign": ((), Counts(max=2)),
    "floor": ((), Counts(add=1)),
    "ceil": ((), Counts(add=1)),
    "round": ((), Counts(add=1)),  # half to even
    "sqrt": ((), Counts(special=1)),
    "reciprocal": ((), Counts(special=1)),
    "exp": ((), Counts(special=1)),
    "log": ((), Counts(special=1)),
    "erf": ((), Counts(special=1)),
    "affine": (("alpha", "beta"), Counts(fma=1)),  # alpha x + beta
    "clip": (("alpha", "beta"), Counts(max=2)),  # min(max(x, alpha), beta)
    "hardsigmoid": (("alpha", "beta"), Counts(fma=1, max=2)),  # clip(alpha x + beta, 0, 1)
    "elu": (("alpha",), Counts(mul=1, add=1, max=1, special=1)),  # x > 0: x, else alpha (e^x - 1)
    "selu": (("alpha", "beta"), Counts(mul=2, add=1, max=1, special=1)),  # beta times elu
    "celu": (("alpha",), Counts(mul=2, add=1, max=1, special=1)),  # x > 0: x, else alpha (e^(x / alpha) - 1)
    "thresholded_relu": (("alpha",), Counts(max=1)),  # x > alpha: x, else 0
    "softplus": ((), Counts(add=1, special=2)),  # ln(1 + e^x)
    "softsign": ((), Counts(add=1, max=1, special=1)),  # x / (1 + |x|)
    "mish": ((), Counts(mul=1, add=1, special=3)),  # x tanh(softplus(x))
    "gelu_tanh": ((), Counts(fma=1, mul=3, add=1, special=1)),  # x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    "swish": (("alpha",), Counts(mul=1, add=1, special=2)),  # x / (1 + e^(-alpha x))
}
BINARY: dict[str, Counts] = {
    "sub": Counts(add=1),
    "div": Counts(special=1),
    "pow": Counts(special=1),
    "min": Counts(max=1),
    "max": Counts(max=1),
    "prelu": Counts(mul=1, max=1),  # a > 0: a, else a b
}


def activation_fields(kind: str | None, param) -> tuple[str | None, float | None]:
    """A checked (activation, parameter): leaky_relu's parameter is its slope (0.01 unless given), others have none."""
    if kind is not None:
        as_choice("activation", kind, ACTIVATIONS)
    if kind == "leaky_relu":
        return kind, LEAKY_SLOPE if param is None else as_float("activation_param", param)
    if param is not None:
        raise ValueError(f"activation_param is the slope of leaky_relu; {kind!r} takes none, got {param!r}")
    return kind, None


def activation_counts(kind: str | None, elements: int) -> Counts:
    return Counts() if kind is None else ACTIVATIONS[kind] * elements


def broadcast(op: str, a: Shape, b: Shape) -> Shape:
    """NumPy's broadcasting; a symbol meets itself or 1."""
    rank = max(len(a), len(b))
    out = []
    for m, n in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b):
        if m != n and m != 1 and n != 1:
            raise ValueError(f"{op}: a of shape {a} and b of shape {b} do not broadcast: {m} against {n}")
        out.append(n if m == 1 else m)
    return tuple(out)


@dataclass(frozen=True)
class ActivationSpec(Spec):
    """y = f(x), any rank. Kinds: relu, relu6, leaky_relu (param = slope), sigmoid, tanh, silu, hardswish, hardsigmoid,
    gelu (the exact, erf form). Theory: ACTIVATIONS per element."""

    kind: str = "relu"
    param: float | None = None
    op = "activation"

    def __post_init__(self):
        as_choice("activation", self.kind, ACTIVATIONS)
        object.__setattr__(self, "param", activation_fields(self.kind, self.param)[1])

    def infer(self, x):
        return (check_shape(self.op, "x", x, minimum=0),)

    def theory(self, x):
        return activation_counts(self.kind, product(x)) + Counts(**io_bytes([x], [x]))


class _Pair(Spec):
    """Two operands that broadcast."""

    inputs = ("a", "b")

    def infer(self, a, b):
        out = broadcast(self.op, check_shape(self.op, "a", a, minimum=0), check_shape(self.op, "b", b, minimum=0))
        check_size(self.op, "the output", out)
        return (out,)


@dataclass(frozen=True)
class _Activated(_Pair):
    activation: str | None = None
    activation_param: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "activation_param", activation_fields(self.activation, self.activation_param)[1])

    def theory(self, a, b):
        (out,) = self.infer(a, b)
        n = product(out)
        own = Counts(add=n) if self.op == "add" else Counts(mul=n)
        return own + activation_counts(self.activation, n) + Counts(**io_bytes([a, b], [out]))


@dataclass(frozen=True)
class AddSpec(_Activated):
    """y = act(a + b), NumPy broadcasting. Theory: one add per output, and the activation's."""

    op = "add"


@dataclass(frozen=True)
class MulSpec(_Activated):
    """y = act(a * b), NumPy broadcasting (an SE gate is (N, C, H, W) * (N, C, 1, 1)). Theory: one mul per output."""

    op = "mul"


@dataclass(frozen=True)
class UnarySpec(Spec):
    """y = f(x), any rank: the functions of UNARY, which says what `alpha` and `beta` mean (None where f has none).
    A NaN stays one. Theory: UNARY per element."""

    kind: str
    alpha: float | None = None
    beta: float | None = None
    op = "unary"

    def __post_init__(self):
        as_choice("kind", self.kind, UNARY)
        names, _ = UNARY[self.kind]
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if (value is None) == (name in names):
                raise ValueError(f"{self.kind} takes {' and '.join(names) or 'no parameter'}, got {name} {value!r}")
            if value is not None:  # the bounds of clip may be infinite
                object.__setattr__(self, name, as_float(name, value, finite=self.kind != "clip"))

    def infer(self, x):
        return (check_shape(self.op, "x", x, minimum=0),)

    def theory(self, x):
        return UNARY[self.kind][1] * product(x) + Counts(**io_bytes([x], [x]))


@dataclass(frozen=True)
class BinarySpec(_Pair):
    """y = f(a, b), NumPy broadcasting: sub a - b, div a / b, pow a^b, min, max (a NaN wins), prelu (a > 0: a, else
    a b). Theory: BINARY per output. Sums and products are AddSpec and MulSpec."""

    kind: str
    op = "binary"

    def __post_init__(self):
        as_choice("kind", self.kind, BINARY)

    def theory(self, a, b):
        (out,) = self.infer(a, b)
        return BINARY[self.kind] * product(out) + Counts(**io_bytes([a, b], [out]))
