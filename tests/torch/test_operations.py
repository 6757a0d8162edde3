"""Operations one by one: what PyTorch computes, in one piece, and what is declined."""

from __future__ import annotations

import pytest

import cnnkern

from .conftest import assert_same

torch = pytest.importorskip("torch", reason="torch is not installed")
nn, F = torch.nn, torch.nn.functional


class Of(nn.Module):
    """A function as a module, with layers it may use."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *inputs):
        return self.function(*inputs, *self.layers)


def split_and_swap(x):
    a, b = x.chunk(2, 1)
    return torch.cat([b, a], 1)


def shuffle(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def in_place(x):
    y = x * 2
    y += 1
    return y.relu_()


def norm(layer):
    """A batch norm with statistics as after training."""
    with torch.no_grad():
        for name, tensor in layer.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_()
    return layer


X = (2, 4, 9, 7)
FUNCTIONS = {
    # activations
    "relu": F.relu, "relu6": F.relu6, "hardtanh": F.hardtanh, "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7), "selu": F.selu, "celu": lambda x: F.celu(x, 0.6), "silu": F.silu,
    "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "gelu": F.gelu, "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"), "softplus": F.softplus,
    "softplus with beta": lambda x: F.softplus(x, 2.0), "mish": F.mish, "softsign": F.softsign,
    "threshold": lambda x: F.threshold(x, 0.1, 0.0), "glu": lambda x: F.glu(x, 1),
    # arithmetic
    "scalars": lambda x: (3 - x * 2 + 1) / 4 - 0.5, "thirds": lambda x: x / 3, "inverse": lambda x: 1 / (x.abs() + 1),
    "self": lambda x: x + x * x - x / (x * x + 1), "alpha": lambda x: torch.add(x, x * x, alpha=0.5),
    "powers": lambda x: x**2 + x.abs() ** 0.5 + (x.abs() + 1) ** -1 + (x.abs() + 1) ** 1.7,
    "channels": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), "constant": lambda x: x + torch.arange(7.0),
    "clamp": lambda x: x.clamp(-0.5, 0.7).clamp_min(-0.2).clamp_max(0.6), "maximum": lambda x: torch.maximum(x, -x),
    "roots": lambda x: (x.abs() + 0.1).sqrt() + (x.abs() + 0.1).rsqrt(), "exp, log": lambda x: (x.exp() + 1).log(),
    "rounding": lambda x: (x * 3).floor() + (x * 3).ceil() + (x * 3).round() + x.sign() - x.neg().abs(),
    "in place": in_place,
    # reductions
    "mean": lambda x: x.mean((2, 3)), "mean of all": lambda x: x.mean(), "sum": lambda x: x.sum(1),
    "amax": lambda x: x.amax((1, 3), keepdim=True), "amin": lambda x: x.amin(2), "max": lambda x: x.max(1).values,
    "var": lambda x: x.var(1, keepdim=True), "std": lambda x: x.std((2, 3), correction=0),
    "softmax": lambda x: F.softmax(x, 1), "log_softmax": lambda x: F.log_softmax(x.flatten(1), -1),
    # pools
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max_pool2d, ceil": lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True),
    "max_pool2d, dilated": lambda x: F.max_pool2d(x, 2, 1, dilation=2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d, inside": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool2d, divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (4, 3)), "global": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_max": lambda x: F.adaptive_max_pool2d(x, (3, 7)), "global max": lambda x: F.adaptive_max_pool2d(x, 1),
    "local_response_norm": lambda x: F.local_response_norm(x * 3, 3, 0.5, 0.6, 1.5),
    # shapes
    "chunk": split_and_swap, "channel_shuffle": shuffle, "native_channel_shuffle": nn.ChannelShuffle(2),
    "flatten": lambda x: F.relu(x).flatten(1),
    "view": lambda x: F.relu(x).view(2, 4, 63), "permute": lambda x: x.permute(0, 2, 3, 1) * 1,
    "squeeze": lambda x: x[:, :1].squeeze(1).unsqueeze(-1) + 1, "select": lambda x: x[:, 1] + x[:, -1],
    "steps": lambda x: x[:, :, ::2, 1:-1:3] * 1, "narrow": lambda x: x.narrow(2, 3, 4) * 1, "flip": lambda x: x.flip(3),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1) * x, "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "stack": lambda x: torch.stack([x, x * 2], 1), "unbind": lambda x: torch.cat(x.unbind(1), 1),
    "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1), "gather": lambda x: x[:, [3, 0, 0]] * 1,
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), "crop": lambda x: F.pad(x, (-1, 1, 2, -1)) * 1,
    "pad channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)), "reflect": lambda x: F.pad(x, (2, 1, 3, 0), "reflect"),
    "replicate": lambda x: F.pad(x, (2, 1, 3, 0), "replicate"), "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[..., :8, :6], 2), "clone": lambda x: x.clone().contiguous() + 0,
    # resampling
    "nearest": lambda x: F.interpolate(x, scale_factor=2), "nearest, odd": lambda x: F.interpolate(x, (13, 5)),
    "nearest-exact": lambda x: F.interpolate(x, (13, 5), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, (14, 5), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, (14, 5), mode="bilinear", align_corners=True),
    # products of values
    "matmul": lambda x: x @ x.transpose(2, 3), "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
}  # fmt: skip
LAYERS = {
    "conv": lambda: nn.Conv2d(4, 6, 3, 2, 1, bias=False), "conv, same": lambda: nn.Conv2d(4, 6, 4, padding="same"),
    "conv, reflect": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "conv, groups": lambda: nn.Conv2d(4, 8, (3, 1), dilation=2, groups=2),
    "conv_transpose": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2),
    "batch_norm": lambda: norm(nn.BatchNorm2d(4)), "plain batch_norm": lambda: norm(nn.BatchNorm2d(4, affine=False)),
    "instance_norm": lambda: nn.InstanceNorm2d(4),
    "instance_norm, affine": lambda: norm(nn.InstanceNorm2d(4, affine=True)),
    "group_norm": lambda: norm(nn.GroupNorm(2, 4)), "layer_norm": lambda: norm(nn.LayerNorm((9, 7))),
    "prelu": lambda: nn.PReLU(4), "one prelu": lambda: nn.PReLU(),
    "dropout": lambda: nn.Sequential(nn.ReLU(), nn.Dropout()),
    "linear": lambda: nn.Linear(7, 5), "linear without bias": lambda: nn.Linear(7, 5, bias=False),
    "conv, norm, scale": lambda: nn.Sequential(nn.Conv2d(4, 6, 3), norm(nn.BatchNorm2d(6)), Of(lambda x: x * 0.3)),
    "flat linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(252, 5), nn.ReLU(), nn.Linear(5, 3)),
    "signal": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 6, 3, 2, 1), norm(nn.BatchNorm1d(6)), nn.ReLU()),
}  # fmt: skip


@pytest.fixture
def folding():
    if cnnkern.backends.default().name == "reference":
        pytest.skip("the reference folds nothing")


def check(module, x, compiled):
    expected = module(x)
    fast = compiled(module)
    assert_same(fast(x), expected)
    assert_same(fast(x), expected)
    (graph,) = fast.graphs
    assert graph.program.left == [] and graph.program.whole is not None, graph.program.explanation()
    return graph.program.executables[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, rng, compiled, silent):
    x = torch.from_numpy(rng.standard_normal((2, 4, 9, 7), "float32"))
    check(Of(FUNCTIONS[name]), x, compiled)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, rng, compiled, silent):
    torch.manual_seed(int(rng.integers(1 << 31)))
    check(LAYERS[name]().eval(), torch.from_numpy(rng.standard_normal(X, "float32")), compiled)


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("channel_shuffle", "channel_shuffle"),
        ("local_response_norm", "local_response_norm"),
        ("global", "global_pool2d"),
    ],
)
def test_what_pytorch_writes_out_is_one_operation_again(name, op, rng, compiled):
    exe = check(Of(FUNCTIONS[name]), torch.from_numpy(rng.standard_normal(X, "float32")), compiled)
    assert op in {step.spec.op for step in exe.steps} and len(exe.steps) <= 4


def test_norm_and_factor_are_folded_into_the_convolution(rng, compiled, folding):
    exe = check(LAYERS["conv, norm, scale"]().eval(), torch.from_numpy(rng.standard_normal(X, "float32")), compiled)
    assert {step.spec.op for step in exe.steps} <= {"conv2d", "reorder"}


def test_weights_that_follow_from_weights_are_computed_once(rng, compiled):
    conv = nn.Conv2d(4, 6, 3)
    standardised = Of(lambda x, c: F.conv2d(x, (c.weight - c.weight.mean()) / c.weight.std(), c.bias), conv)
    exe = check(standardised, torch.from_numpy(rng.standard_normal(X, "float32")), compiled)
    assert {step.spec.op for step in exe.steps} <= {"conv2d", "reorder"}


DECLINED = {
    "indices": (lambda x: F.max_pool2d(x, 2, return_indices=True)[1].float() + F.relu(x).sum(), "int64"),
    "doubles": (lambda x: x.double() * 2, "float64"),
    "sorted": (lambda x: F.relu(x).sort(-1).values, "no such operation"),
    "computed weight": (lambda x: F.conv2d(x, x.mean((0, 2, 3)).view(4, 1, 1, 1).expand(4, 4, 1, 1)), "computed"),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_is_declined_stays_in_pytorch_and_says_why(name, rng, compiled):
    function, why = DECLINED[name]
    x = torch.from_numpy(rng.standard_normal((2, 4, 8, 8), "float32"))
    fast = compiled(Of(function))
    assert_same(fast(x), function(x))
    assert any(why in reason for _, _, reason in fast.graphs[0].program.left), fast.graphs[0].program.explanation()
