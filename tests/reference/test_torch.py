"""The oracle against PyTorch in float64, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opcases import PROBLEMS, cases, examples

from cnnkern import ops, testing

torch = pytest.importorskip("torch", reason="torch is not installed")
F = torch.nn.functional

ACTIVATIONS = {
    "relu": F.relu, "relu6": F.relu6, "leaky_relu": F.leaky_relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "silu": F.silu, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "gelu": F.gelu,
}  # fmt: skip


def act(kind, param, y):
    if kind is None:
        return y
    return F.leaky_relu(y, param) if kind == "leaky_relu" else ACTIVATIONS[kind](y)


def framed(x, padding, value=0.0):
    (top, bottom), (left, right) = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def conv2d(spec, x, weight, bias, residual, scale=None, shift=None):
    if scale is not None:
        x = act(spec.prologue, None, x * scale[:, None, None] + shift[:, None, None])
    y = F.conv2d(framed(x, spec.padding), weight, bias, spec.stride, 0, spec.dilation, spec.groups)
    return act(spec.activation, spec.activation_param, y if residual is None else y + residual)


def locally_connected2d(spec, x, weight, bias):
    p, q, k, *window = weight.shape
    columns = F.unfold(framed(x, spec.padding), window[1:], stride=spec.stride).reshape(len(x), -1, p, q)
    y = torch.einsum("nfpq,pqkf->nkpq", columns, weight.reshape(p, q, k, -1))
    return y if bias is None else y + (bias if bias.ndim == 3 else bias[:, None, None])


def pool2d(spec, x):
    pads = [a for a, _ in spec.padding]
    if spec.kind == "max":
        return F.max_pool2d(
            x, spec.kernel, spec.stride, pads, spec.dilation, spec.ceil_mode, return_indices=spec.return_indices
        )
    options = {"divisor_override": 1} if spec.kind == "sum" else {}
    return F.avg_pool2d(x, spec.kernel, spec.stride, pads, spec.ceil_mode, spec.count_include_pad, **options)


def comparable(spec, shapes) -> bool:
    """torch pools pad both sides alike and no more than half a window; its average has no dilation."""
    if spec.op == "pool2d":
        symmetric = all(a == b and 2 * a <= k for (a, b), k in zip(spec.padding, spec.kernel))
        if not symmetric or (spec.kind != "max" and spec.dilation != (1, 1)):
            return False
    return all(s is None or 0 not in s for s in shapes)


THEIRS = {
    "conv2d": conv2d,
    "locally_connected2d": locally_connected2d,
    "im2col": lambda s, x: F.unfold(framed(x, s.padding), s.kernel, s.dilation, 0, s.stride),
    "linear": lambda s, x, w, b: act(s.activation, s.activation_param, F.linear(x, w, b)),
    "pool2d": pool2d,
    "global_pool2d": lambda s, x: (F.adaptive_max_pool2d if s.kind == "max" else F.adaptive_avg_pool2d)(x, 1),
    "adaptive_avg_pool2d": lambda s, x: F.adaptive_avg_pool2d(x, s.output_size),
    "batch_norm": lambda s, x, mean, var, w, b: act(
        s.activation, s.activation_param, F.batch_norm(x, mean, var, w, b, eps=s.eps)
    ),
    "local_response_norm": lambda s, x: F.local_response_norm(
        x, s.size, s.alpha * (s.size if s.alpha_is_sum else 1), s.beta, s.k
    ),
    "activation": lambda s, x: act(s.kind, s.param, x),
    "add": lambda s, a, b: act(s.activation, s.activation_param, a + b if s.op == "add" else a * b),
    "softmax": lambda s, x: (F.log_softmax if s.log else F.softmax)(x, s.axis),
    "channel_shuffle": lambda s, x: F.channel_shuffle(x, s.groups),
    "pad": lambda s, x: framed(x, s.padding, s.value),
    "concat": lambda s, *arrays: torch.cat(arrays, s.axis),
}


@pytest.mark.parametrize("op", THEIRS)
@examples(15)
@given(data=st.data())
def test_oracle_equals_torch(op, data):
    case = data.draw(cases(PROBLEMS[op], memory=("plain",)))
    assume(comparable(case.spec, case.shapes))
    arrays = [None if a is None else a.astype(np.float64) for a in case.arrays()]
    mine = testing.reference(case.spec, *arrays)
    theirs = THEIRS[op](case.spec, *(None if a is None else torch.from_numpy(a) for a in arrays))
    mine, theirs = (r if isinstance(r, tuple) else (r,) for r in (mine, theirs))
    for a, b in zip(mine, theirs):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(112, 3, 2, 0), (112, 3, 2, 1), (7, 2, 2, 1), (5, 3, 3, 1)]
)
def test_ceil_mode_equals_torch(rng, kind, size, kernel, stride, padding):
    x = rng.standard_normal((1, 2, size, size))
    for include in (True, False):
        spec = ops.Pool2dSpec(kind, kernel, stride, padding, ceil_mode=True, count_include_pad=include)
        theirs = pool2d(spec, torch.from_numpy(x))
        np.testing.assert_allclose(testing.reference(spec, x), theirs.numpy(), rtol=1e-12)
