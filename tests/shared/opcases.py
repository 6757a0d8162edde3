"""Random problems for every operation: a Spec, the shapes of its inputs, and arrays in awkward memory layouts.

The sizes are small and odd on purpose: 1x1 images, channels 1, 3, 17, 31, even kernels, asymmetric padding, strides
beyond the kernel, dilation, groups, batches of 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import host
import numpy as np
import pytest
from hostruntime import host_backend
from hypothesis import settings
from hypothesis import strategies as st

from cnnkern import backends, config, cpu_info, ops
from cnnkern.backends.reference import ReferenceBackend
from cnnkern.ops.base import Shape, Spec
from cnnkern.ops.conv import PROLOGUES

CHANNELS = st.sampled_from([1, 2, 3, 4, 8, 16, 17, 31, 33, 48])
BATCH = st.sampled_from([0, 1, 1, 1, 2, 3])
MEMORY = ("plain", "channels_last", "strided", "reversed", "read_only")  # what backends take
ODD_MEMORY = (*MEMORY, "unaligned")  # what the functions take
ACTIVATIONS = st.sampled_from([None, None, *ops.ACTIVATIONS])
WITHOUT_CUDA = {  # operations that have no CUDA kernel: there they run on the CPU
    "unary", "binary", "reduce", "matmul", "stride", "pad_nd", "expand", "tile", "depth_to_space", "space_to_depth",
    "resample", "conv_transpose2d",
}  # fmt: skip
CONV_ALGOS = tuple(a for a in ops.CONV_ALGOS if a not in ("auto", "fft"))  # what kernels serve; fft: test_fft.py


def examples(count: int):
    """`count` random examples per test, as many times more as the hypothesis profile asks for (see conftest.py)."""
    return settings(max_examples=max(1, count * settings.default.max_examples // 20))


@dataclass(frozen=True)
class Case:
    """One problem. `seed` makes its data; `memory` says how the first input lies in memory."""

    spec: Spec
    shapes: tuple[Shape | None, ...]
    seed: int
    memory: str = "plain"

    def arrays(self) -> list[np.ndarray | None]:
        """float32 inputs, normal with He-like weights; variances positive."""
        rng = np.random.default_rng(self.seed)
        names = self.spec.inputs if len(self.spec.inputs) >= len(self.shapes) else ["x"] * len(self.shapes)
        made = []
        for name, shape in zip(names, self.shapes):
            if shape is None:
                made.append(None)
                continue
            data = rng.standard_normal(shape)
            if name == "weight" and self.spec.op != "batch_norm":
                data *= np.sqrt(2 / max(1, self.spec.reduction(*self.shapes)))
            data = in_domain(self.spec, name, data)
            if name == "var":
                data = np.abs(data) + 0.1
            if name == "rois":
                data = regions(rng, self.spec, self.shapes[0], shape[0])
            made.append(laid_out(data.astype(np.float32), self.memory if not made else "plain"))
        return made


def in_domain(spec: Spec, name: str, data: np.ndarray) -> np.ndarray:
    """Where a function is defined, mostly: positive under roots, logarithms and powers that are no whole numbers."""
    kind = getattr(spec, "kind", "")
    if (spec.op, kind) in (("unary", "log"), ("unary", "sqrt"), ("reduce", "log_sum")):
        return np.asarray(np.abs(data) + 0.1)
    if (spec.op, kind) == ("binary", "pow"):
        return np.where(data < 0, np.round(2 * data), data) if name == "b" else np.asarray(np.abs(data))
    return data


def regions(rng, spec: ops.RoiMaxPoolSpec, x: Shape, count: int) -> np.ndarray:
    """Regions of every kind: in the image and beyond it, on half pixels, with corners swapped, too large for an int."""
    n, _, h, w = x
    corners = rng.uniform(-0.5, 1.5, (count, 4)) * (w, h, w, h)
    corners = np.where(rng.random((count, 4)) < 0.3, np.round(2 * corners) / 2, corners) / spec.spatial_scale
    huge = rng.choice([-3e38, -(2.0**33), 2.0**24, 3e38], (count, 4))
    corners = np.where(rng.random((count, 4)) < 0.05, huge, corners)
    return np.column_stack([rng.integers(0, max(n, 1), count), corners]).astype(np.float32)


def laid_out(a: np.ndarray, memory: str) -> np.ndarray:
    """The same values, lying otherwise in memory."""
    if memory == "channels_last" and a.ndim == 4:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if memory == "strided" and a.ndim:
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan, np.float32)
        wide[..., 1::2] = a
        return wide[..., 1::2]
    if memory == "reversed" and a.ndim:
        return a[(slice(None, None, -1),) * a.ndim].copy()[(slice(None, None, -1),) * a.ndim]
    if memory == "unaligned":
        moved = np.zeros(a.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(a.shape)
        moved[...] = a
        return moved
    if memory == "read_only":
        a = a.copy()
        a.flags.writeable = False
    return a


# --- who is tested


def engines(native_only: bool = False) -> list:
    """Every available backend as a pytest parameter, the cpu once per instruction set, CUDA on the host shim; a missing
    one is a visible skip, or a failure where CNNKERN_REQUIRE_NATIVE says that it must be there."""
    found = [] if native_only else [pytest.param(ReferenceBackend(), id="reference")]
    found += [cuda_on_host(), numba()]
    reason = backends.available()["cpu"]
    if reason and config.get("require_native"):
        raise RuntimeError(f"CNNKERN_REQUIRE_NATIVE is set, but the cpu backend is not available: {reason}")
    if reason:
        return [*found, pytest.param(None, id="cpu", marks=pytest.mark.skip(reason=f"no cpu backend: {reason}"))]
    from cnnkern.backends.cpu import CpuBackend

    return found + [pytest.param(CpuBackend(isa=isa), id=f"cpu-{isa}") for isa in cpu_info()["isas"]]


def numba():
    """The Numba backend; a visible skip without it."""
    reason = backends.available()["numba"]
    if reason:
        return pytest.param(None, id="numba", marks=pytest.mark.skip(reason=f"no numba backend: {reason}"))
    return pytest.param(backends.get("numba"), id="numba")


def cuda_on_host(target: str = "sm_90a"):
    """The CUDA backend, its kernels run from their sources by tests/cuda/shim."""
    name = "cuda-host" if target == "sm_90a" else f"cuda-host-{target}"
    if host.compiler() is None:
        return pytest.param(None, id=name, marks=pytest.mark.skip(reason="no C++ compiler"))
    return pytest.param(host_backend(target=target), id=name)


# --- strategies, one per operation


@st.composite
def axis(draw, dilated: bool = True, same_size_limit: int = 14, window_needs_input: bool = False):
    """(size, kernel, stride, (before, after), dilation) along one axis, in which at least one window fits."""
    kernel = draw(st.integers(1, 5))
    stride = draw(st.integers(1, 4))
    dilation = draw(st.sampled_from([1, 1, 1, 2, 3])) if dilated else 1
    extent = dilation * (kernel - 1) + 1
    most = min(3, (kernel - 1) // 2 + 1 if not window_needs_input else (kernel - 1) // 2)
    padding = draw(st.tuples(st.integers(0, most), st.integers(0, most)))
    smallest = max(1, extent - sum(padding), dilation if window_needs_input else 1)
    return draw(st.integers(smallest, smallest + same_size_limit)), kernel, stride, padding, dilation


@st.composite
def window(draw, **options):
    """Two axes as {"hw", "kernel", "stride", "padding", "dilation"}."""
    axes = draw(axis(**options)), draw(axis(**options))
    return dict(zip(("hw", "kernel", "stride", "padding", "dilation"), zip(*axes)))


@st.composite
def conv2d(
    draw, kernel=None, plain=False, padded=True, kinds=("dense", "dense", "grouped", "narrow", "depthwise"),
    prologue=False,
):  # fmt: skip
    """`kernel`: forced; `plain`: stride and dilation 1; `kinds`: of groups, depthwise having one input channel each,
    narrow as many outputs as inputs, 2, 4 or 8; `prologue`: x may be scaled and shifted."""
    w = draw(window())
    if not padded:
        w["hw"] = tuple(size + sum(pads) for size, pads in zip(w["hw"], w["padding"]))
        w["padding"] = ((0, 0), (0, 0))
    if kernel is not None:
        w["kernel"] = kernel
        w["hw"] = tuple(s + d * k for s, d, k in zip(w["hw"], w["dilation"], kernel))
    if plain:
        w["stride"] = w["dilation"] = (1, 1)
        w["hw"] = tuple(size + 2 for size in w["hw"])
    kind = draw(st.sampled_from(kinds))
    if kind == "dense":
        groups, c_group, k_group = 1, draw(CHANNELS), draw(CHANNELS)
    elif kind == "grouped":
        groups, c_group, k_group = draw(st.integers(2, 4)), draw(st.sampled_from([1, 3, 8])), draw(st.integers(1, 9))
    elif kind == "narrow":
        groups, c_group = draw(st.integers(1, 17)), draw(st.sampled_from([2, 4, 8]))
        k_group = c_group
    else:
        groups, c_group, k_group = draw(CHANNELS), 1, draw(st.integers(1, 3))
    activation = draw(ACTIVATIONS)
    param = draw(st.sampled_from([None, 0.2])) if activation == "leaky_relu" else None
    spec = ops.Conv2dSpec(w["stride"], w["padding"], w["dilation"], groups, activation, param)
    x, weight = (draw(BATCH), groups * c_group, *w["hw"]), (groups * k_group, c_group, *w["kernel"])
    bias = (weight[0],) if draw(st.booleans()) else None
    residual = spec.infer(x, weight)[0] if draw(st.booleans()) else None
    if prologue and draw(st.booleans()):
        spec = replace(spec, prologue=draw(st.sampled_from([None, *PROLOGUES])))
        return spec, (x, weight, bias, residual, (x[1],), (x[1],))
    return spec, (x, weight, bias, residual)


@st.composite
def fused_block(draw):
    kernel = draw(st.one_of(st.sampled_from([(3, 3), (5, 5)]), st.tuples(st.integers(1, 5), st.integers(1, 5))))
    stride = tuple(draw(st.integers(1, size)) for size in kernel)
    if draw(st.booleans()):
        stride = (min(2, *kernel),) * 2
    padding = tuple(draw(st.tuples(*[st.integers(0, size - 1)] * 2)) for size in kernel)
    hw = (draw(st.integers(max(1, size - sum(pads)), 18)) for size, pads in zip(kernel, padding))
    acts = [draw(ACTIVATIONS) for _ in range(3)]
    projects, wide = draw(st.booleans()), draw(st.one_of(CHANNELS, st.sampled_from([96, 128, 130])))
    spec = ops.FusedBlockSpec(stride, padding, *acts[: 2 + projects])
    shapes = [(draw(BATCH), draw(CHANNELS), *hw)]
    weights = [(wide, shapes[0][1], 1, 1), (wide, 1, *kernel), *[(draw(CHANNELS), wide, 1, 1)] * projects]
    for weight in weights:
        shapes += [weight, (weight[0],) if draw(st.booleans()) else None]
    shapes += [None] * (7 - len(shapes))
    residual = spec.infer(*shapes)[0] if draw(st.booleans()) else None
    return spec, (*shapes, residual)


@st.composite
def locally_connected2d(draw):
    w = draw(window(dilated=False, same_size_limit=5))
    spec = ops.LocallyConnected2dSpec(w["stride"], w["padding"])
    x, k = (draw(BATCH), draw(st.sampled_from([1, 3, 5])), *w["hw"]), draw(st.sampled_from([1, 3, 17]))
    _, _, p, q = ops.Conv2dSpec(w["stride"], w["padding"]).infer(x, (k, x[1], *w["kernel"]))[0]
    return spec, (x, (p, q, k, x[1], *w["kernel"]), draw(st.sampled_from([None, (k,), (k, p, q)])))


@st.composite
def im2col(draw):
    w = draw(window())
    spec = ops.Im2colSpec(w["kernel"], w["stride"], w["padding"], w["dilation"])
    return spec, ((draw(BATCH), draw(CHANNELS), *w["hw"]),)


@st.composite
def linear(draw):
    f, o = draw(st.sampled_from([1, 3, 16, 17, 31, 100, 257])), draw(st.sampled_from([1, 2, 10, 16, 17, 33, 65]))
    activation = draw(ACTIVATIONS)
    return ops.LinearSpec(activation), ((draw(BATCH), f), (o, f), (o,) if draw(st.booleans()) else None)


@st.composite
def pool2d(draw):
    kind, count_pad = draw(st.sampled_from(["max", "avg", "sum"])), draw(st.booleans())
    w = draw(window(window_needs_input=kind == "max" or not count_pad))
    spec = ops.Pool2dSpec(
        kind, w["kernel"], w["stride"], w["padding"], w["dilation"], draw(st.booleans()), count_pad,
        kind == "max" and draw(st.booleans()),
    )  # fmt: skip
    x = (draw(BATCH), draw(CHANNELS), *w["hw"])
    if spec.ceil_mode:  # also windows that are larger than the input and its padding
        smaller = (*x[:2], *(draw(st.integers(max(1, size - s + 1), size)) for size, s in zip(w["hw"], w["stride"])))
        try:
            spec.infer(smaller)
        except ValueError:  # one would hold padding alone
            smaller = x
        x = smaller
    return spec, (x,)


@st.composite
def image(draw, largest: int = 15):
    return (draw(BATCH), draw(CHANNELS), draw(st.integers(1, largest)), draw(st.integers(1, largest)))


@st.composite
def roi_max_pool(draw):
    x, size = draw(image()), draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    count = draw(st.sampled_from([0, 1, 2, 5])) if x[0] else 0
    return ops.RoiMaxPoolSpec(size, draw(st.sampled_from([1.0, 1 / 16, 0.3, 2.5]))), (x, (count, 5))


@st.composite
def any_shape(draw, smallest: int = 1):
    rank = draw(st.integers(1, 5))
    return (draw(st.integers(0, 4)), *(draw(st.integers(smallest, 9)) for _ in range(rank - 1)))


@st.composite
def batch_norm(draw):
    ranks = (image(), st.tuples(BATCH, CHANNELS), st.tuples(BATCH, CHANNELS, st.integers(1, 9)))
    x = draw(st.one_of(*ranks, st.tuples(BATCH, CHANNELS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))))
    c = (x[1],)
    affine = [draw(st.sampled_from([None, c])) for _ in range(2)]
    return ops.BatchNormSpec(draw(st.sampled_from([1e-5, 1e-3])), draw(ACTIVATIONS)), (x, c, c, *affine)


@st.composite
def local_response_norm(draw):
    size, k = draw(st.integers(1, 7)), draw(st.sampled_from([1.0, 2.0]))
    alpha, beta = draw(st.sampled_from([1e-4, 0.5])), draw(st.sampled_from([0.75, 0.5, 1.0]))
    return ops.LocalResponseNormSpec(size, alpha, beta, k, draw(st.booleans())), (draw(image()),)


@st.composite
def broadcast(draw):
    """add or mul: two shapes that broadcast, with images and SE gates among them."""
    a = draw(st.one_of(image(), any_shape()))
    b = tuple(1 if draw(st.integers(0, 3)) == 0 else size for size in a)[draw(st.integers(0, len(a) - 1)) :]
    b = draw(st.sampled_from([a, b]))
    if draw(st.booleans()):
        a, b = b, a
    return draw(st.sampled_from([ops.AddSpec, ops.MulSpec]))(draw(ACTIVATIONS)), (a, b)


PARAMETERS = {
    "affine": (1.5, -0.25), "clip": (-0.7, 1.2), "hardsigmoid": (0.2, 0.5), "elu": (1.3,), "selu": (1.67, 1.05),
    "celu": (0.8,), "thresholded_relu": (0.3,), "swish": (1.7,),
}  # fmt: skip


@st.composite
def unary(draw):
    kind = draw(st.sampled_from([*ops.UNARY]))
    return ops.UnarySpec(kind, *PARAMETERS.get(kind, ())), (draw(st.one_of(any_shape(), image(), st.just(()))),)


@st.composite
def binary(draw):
    _, shapes = draw(broadcast())
    return ops.BinarySpec(draw(st.sampled_from([*ops.BINARY]))), shapes


@st.composite
def reduce(draw):
    x = draw(st.one_of(any_shape(), image(), st.tuples(st.sampled_from([1, 3, 300]), st.sampled_from([1, 17, 700]))))
    axes = draw(st.lists(st.integers(0, len(x) - 1), unique=True, max_size=len(x)))
    axes = tuple(axis - draw(st.sampled_from([0, len(x)])) for axis in axes)
    return ops.ReduceSpec(draw(st.sampled_from([*ops.REDUCTIONS])), axes, draw(st.booleans())), (x,)


@st.composite
def matmul(draw):
    m, n = draw(st.sampled_from([0, 1, 3, 17, 40])), draw(st.sampled_from([1, 2, 16, 33, 65]))
    k = draw(st.sampled_from([0, 1, 3, 17, 64]))
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    a, b = ((*(draw(st.sampled_from([size, size, 1])) for size in lead), *end) for end in ((m, k), (k, n)))
    a, b = draw(st.sampled_from([(a, b), (a, b[len(lead) :]), (a[len(lead) :], b), ((k,), b), (a, (k,)), ((k,), (k,))]))
    return ops.MatMulSpec(), (a, b)


@st.composite
def softmax(draw):
    x = draw(st.one_of(any_shape(), image(7), st.tuples(BATCH, st.sampled_from([1, 10, 17, 1000]))))
    return ops.SoftmaxSpec(draw(st.integers(-len(x), len(x) - 1)), draw(st.booleans())), (x,)


@st.composite
def concat(draw):
    x = draw(st.one_of(image(7), any_shape()))
    along = draw(st.integers(0, len(x) - 1))
    sizes = draw(st.lists(st.sampled_from([1, 3, 16, 17]), min_size=1, max_size=4))
    axis = along - draw(st.sampled_from([0, len(x)]))
    return ops.ConcatSpec(axis), tuple((*x[:along], size, *x[along + 1 :]) for size in sizes)


@st.composite
def channel_shuffle(draw):
    n, c, h, w = draw(image(7))
    groups = draw(st.integers(1, 4))
    return ops.ChannelShuffleSpec(groups), ((n, c * groups, h, w),)


@st.composite
def reshape(draw):
    if draw(st.booleans()):  # any shape to any other of as many elements
        x = draw(st.one_of(any_shape(), image(7)))
        factors = [f for size in x for f in ({4: (2, 2), 6: (2, 3), 8: (2, 4), 9: (3, 3)}.get(size, (size,)))]
        factors = draw(st.permutations(factors))
        cuts = sorted(draw(st.sets(st.integers(1, len(factors)), max_size=5)) | {len(factors)})
        target = tuple(int(np.prod(factors[a:b])) for a, b in zip([0, *cuts], cuts))
        return ops.ReshapeSpec(target if 0 not in target else (0, -1)[: len(x)]), (x,)
    n, c, h, w = draw(image(7))
    copied = [(0, -1), (0, h, w, c), (0, 0, h * w), (0, c * h, w)]
    target = draw(st.sampled_from(copied if n == 0 else [*copied, (c, -1, h), (-1,), (1, n, c, h, w)]))
    return ops.ReshapeSpec(target), ((n, c, h, w),)


@st.composite
def transpose(draw):
    x = draw(any_shape())
    return ops.TransposeSpec(tuple(draw(st.permutations(range(len(x)))))), (x,)


@st.composite
def slice_(draw):
    x = draw(any_shape())
    along = draw(st.sampled_from([i for i, size in enumerate(x) if size] or [0]))
    if not x[along]:
        x = (1, *x[1:])
    start = draw(st.integers(0, x[along] - 1))
    stop = draw(st.integers(start + 1, x[along]))
    return ops.SliceSpec(along, start - draw(st.sampled_from([0, x[along]])), stop), (x,)


@st.composite
def stride(draw):
    x = draw(any_shape())
    along = draw(st.integers(0, len(x) - 1))
    start, step = draw(st.integers(0, max(0, x[along] - 1))), draw(st.sampled_from([1, 2, 3, 0, -1, -2]))
    room = (x[along] - 1 - start) // step + 1 if step > 0 else start // -step + 1 if step else 5
    count = draw(st.integers(0, min(room, 9))) if x[along] else 0
    return ops.StrideSpec(along - draw(st.sampled_from([0, len(x)])), start, step, count), (x,)


@st.composite
def pad_nd(draw):
    x = draw(st.one_of(any_shape(), image(5)))
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    least = {"constant": 0, "reflect": 2}.get(mode, 1)
    sides = [draw(st.integers(0, 7 if len(x) < 3 else 3)) for _ in range(2 * len(x))]
    pads = [(a, b) if size >= least and draw(st.booleans()) else (0, 0) for size, a, b in zip(x, sides, sides[1:])]
    return ops.PadNdSpec(tuple(pads), mode, draw(st.sampled_from([0.0, -1.5, np.inf]))), (x,)


@st.composite
def expand(draw):
    shape = draw(any_shape())
    x = tuple(1 if draw(st.booleans()) else size for size in shape)[draw(st.integers(0, len(shape))) :]
    return ops.ExpandSpec(tuple(1 if draw(st.integers(0, 4)) == 0 and size in x else size for size in shape)), (x,)


@st.composite
def tile(draw):
    x = draw(st.one_of(any_shape(), image(4), st.just(())))
    return ops.TileSpec(tuple(draw(st.sampled_from([0, 1, 1, 2, 3])) for _ in x)), (x,)


@st.composite
def depth_to_space(draw):
    (n, c, h, w), block = draw(image(5)), draw(st.integers(1, 3))
    return ops.DepthToSpaceSpec(block, draw(st.sampled_from(["DCR", "CRD"]))), ((n, min(c, 17) * block**2, h, w),)


@st.composite
def space_to_depth(draw):
    (n, c, h, w), block = draw(image(5)), draw(st.integers(1, 3))
    return ops.SpaceToDepthSpec(block), ((n, c, h * block, w * block),)


@st.composite
def resample(draw):
    x = draw(st.one_of(any_shape(), image(9)))
    along = draw(st.integers(0, len(x) - 1))
    outputs, taps = draw(st.integers(0, 20)) if x[along] else 0, draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    index = rng.integers(0, max(1, x[along]), (outputs, taps)).tolist()
    weight = rng.standard_normal((outputs, taps)).tolist()
    if draw(st.booleans()):
        index, weight = [row[:1] for row in index], None
    return ops.ResampleSpec(along - draw(st.sampled_from([0, len(x)])), index, weight), (x,)


@st.composite
def conv_transpose2d(draw):
    kernel, stride = (draw(st.tuples(*[st.integers(1, 5)] * 2)) for _ in range(2))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 2)]))
    hw, extra = draw(st.tuples(*[st.integers(1, 9)] * 2)), draw(st.tuples(*[st.integers(0, 3)] * 2))
    whole = [(h - 1) * s + d * (r - 1) + 1 + e for h, s, d, r, e in zip(hw, stride, dilation, kernel, extra)]
    befores = [draw(st.integers(0, min(4, size - 1))) for size in whole]
    padding = [(a, draw(st.integers(0, min(4, size - 1 - a)))) for a, size in zip(befores, whole)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 17]))
    c_group, k_group = draw(st.sampled_from([1, 3, 16, 17])), draw(st.sampled_from([1, 2, 16, 19]))
    if groups > 3:
        c_group = k_group = 1
    spec = ops.ConvTranspose2dSpec(stride, tuple(padding), extra, dilation, groups)
    c, k = groups * c_group, groups * k_group
    return spec, ((draw(BATCH), c, *hw), (c, k_group, *kernel), draw(st.sampled_from([None, (k,)])))


def _one(make, shapes):
    return st.builds(lambda spec, x: (spec, (x,)), make, shapes)


_SIDES = st.tuples(st.integers(0, 3), st.integers(0, 3))

PROBLEMS: dict[str, st.SearchStrategy] = {
    "conv2d": conv2d(prologue=True),
    "locally_connected2d": locally_connected2d(),
    "im2col": im2col(),
    "linear": linear(),
    "fused_block": fused_block(),
    "pool2d": pool2d(),
    "global_pool2d": _one(st.builds(ops.GlobalPool2dSpec, st.sampled_from(["avg", "max"])), image(24)),
    "adaptive_avg_pool2d": _one(
        st.builds(ops.AdaptiveAvgPool2dSpec, st.tuples(st.integers(1, 9), st.integers(1, 9))), image()
    ),
    "roi_max_pool": roi_max_pool(),
    "batch_norm": batch_norm(),
    "local_response_norm": local_response_norm(),
    "local_contrast_norm": _one(st.builds(ops.LocalContrastNormSpec, st.sampled_from([1, 3, 7])), image()),
    "activation": _one(
        st.builds(ops.ActivationSpec, st.sampled_from([*ops.ACTIVATIONS])), st.one_of(any_shape(), image(), st.just(()))
    ),
    "add": broadcast(),
    "mul": broadcast(),
    "unary": unary(),
    "binary": binary(),
    "reduce": reduce(),
    "matmul": matmul(),
    "softmax": softmax(),
    "concat": concat(),
    "channel_shuffle": channel_shuffle(),
    "pad": _one(st.builds(ops.PadSpec, st.tuples(_SIDES, _SIDES), st.sampled_from([0.0, -1.5, np.inf])), image(7)),
    "flatten": st.one_of(
        _one(st.builds(ops.FlattenSpec, st.sampled_from(["CHW", "HWC"])), image(7)),
        _one(st.just(ops.FlattenSpec()), any_shape()),
    ),
    "slice": slice_(),
    "reshape": reshape(),
    "reorder": _one(st.just(ops.ReorderSpec()), any_shape()),
    "transpose": transpose(),
    "stride": stride(),
    "pad_nd": pad_nd(),
    "expand": expand(),
    "tile": tile(),
    "depth_to_space": depth_to_space(),
    "space_to_depth": space_to_depth(),
    "resample": resample(),
    "conv_transpose2d": conv_transpose2d(),
}


def cases(problems: st.SearchStrategy, memory=MEMORY) -> st.SearchStrategy[Case]:
    return st.builds(
        lambda problem, seed, memory: Case(*problem, seed, memory),
        problems,
        st.integers(0, 2**32 - 1),
        st.sampled_from(memory),
    )
