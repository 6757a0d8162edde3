"""`cnnkern.torch.from_module`: an executable of a module."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern

from .conftest import assert_same

torch = pytest.importorskip("torch", reason="torch is not installed")
nn, F = torch.nn, torch.nn.functional


class Two(nn.Module):
    """Several inputs by name, a dict of results."""

    def __init__(self, training_word=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.register_buffer("factor", torch.tensor(2.0))

    def forward(self, image, other, scale=1.0):
        y = F.relu(self.conv(image)) * self.factor * scale
        return {"y": y, "pooled": (y.mean((2, 3)) + other,)}


@pytest.fixture
def x(rng):
    return torch.from_numpy(rng.standard_normal((2, 3, 12, 10), "float32"))


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(640, 4)).eval()


def test_tensors_and_arrays(net, x, silent):
    run = cnnkern.torch.from_module(net, x)
    expected = net(x)
    assert_same(run(x), expected)
    made = run(x.numpy())
    assert isinstance(made, np.ndarray)
    assert_same(torch.from_numpy(made), expected)
    assert_same(run(x.contiguous(memory_format=torch.channels_last)), expected)


def test_plan_profile_count(net, x):
    run = cnnkern.torch.from_module(net, x.numpy())
    assert "1 piece" in run.explanation and run.left == [] and len(run.pieces) == 1
    assert {"0", "4"} <= {step.name for step in run.plan.steps} and "total" in str(run.plan)
    rows = run.profile(x, rounds=2)
    assert len(rows) == len(run.plan.steps) and all(row["ms"] >= 0 for row in rows)
    if run.plan.backend == "cpu":
        counted = sum((row["executed"] for row in run.count(x) if row["executed"]), cnnkern.ops.Counts())
        assert counted.fma >= 2 * 8 * 27 * 80


def test_structures(x, silent):
    net, other = Two().eval(), torch.randn(8)
    expected = net(x, other)
    by_position = cnnkern.torch.from_module(net, (x, other))
    by_name = cnnkern.torch.from_module(net, {"image": x, "other": other, "scale": 0.5})
    found = by_position(x, other)
    assert list(found) == ["y", "pooled"] and isinstance(found["pooled"], tuple)
    assert_same(found, expected)
    assert_same(by_name(image=x, other=other, scale=0.5)["y"], expected["y"] * 0.5)


def test_changed_weights_are_noticed_where_asked(net, x, silent):
    run = cnnkern.torch.from_module(net, x, check_weights=True)
    before = run(x)
    net[0].weight.mul_(1.5)
    net[4].bias.add_(1)
    assert_same(run(x), net(x))
    assert float((run(x) - before).abs().max()) > 1e-3


def test_pieces(x, silent, capsys):
    class Sorting(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x):
            return self.b(self.a(x).sort(-1).values)

    net = Sorting().eval()
    run = cnnkern.torch.from_module(net, x, explain=True)
    assert_same(run(x), net(x))
    assert len(run.pieces) == 2 and run.left[0][0] == "sort"
    assert capsys.readouterr().err.strip() == run.explanation
    with pytest.raises(cnnkern.UnsupportedError, match="(?s)no one plan.*sort"):
        run.plan  # noqa: B018


def test_what_is_no_module_or_no_option(net, x):
    with pytest.raises(TypeError, match="module must be a torch.nn.Module, got function"):
        cnnkern.torch.from_module(lambda x: x, x)
    with pytest.raises(ValueError, match="threads.*got 'thread'"):
        cnnkern.torch.from_module(net, x, thread=2)
    with pytest.raises(ValueError, match="'cpu'.*got 'gpu'"):
        cnnkern.torch.from_module(net, x, backend="gpu")
    with pytest.raises(ValueError, match="training mode: call module.eval"):
        cnnkern.torch.from_module(net.train(), x)


def test_what_is_no_input(net, x):
    run = cnnkern.torch.from_module(net, x)
    with pytest.raises(ValueError, match=r"x: the compiled shape \(2, 3, 12, 10\) is accepted, got \(1, 3, 12, 10\)"):
        run(x[:1])
    with pytest.raises(TypeError, match="torch.float32 is accepted, got torch.float64"):
        run(x.double())
    with pytest.raises(TypeError, match="got list|got 1|as in example_inputs"):
        run([1.0])
    with pytest.raises(TypeError, match="1 as in example_inputs are accepted, got 2"):
        run(x, x)
    with pytest.raises(TypeError, match="as in example_inputs"):
        run(input=x)
    assert_same(run(x), net(x))  # and runs afterwards as before


def test_what_cannot_be_traced(x):
    class Deciding(nn.Module):
        def forward(self, x):
            return x * 2 if float(x.sum()) > 0 else x

    with pytest.raises(cnnkern.UnsupportedError, match="cannot be made an executable: PyTorch could not trace it"):
        cnnkern.torch.from_module(Deciding().eval(), x)


def test_no_gradient(net, x):
    run = cnnkern.torch.from_module(net, x)
    cnnkern.backends._warned.clear()
    with torch.enable_grad(), pytest.warns(RuntimeWarning, match="carry no gradient"):
        y = run(x.clone().requires_grad_())
    assert not y.requires_grad
    assert_same(y, net(x))
