"""torch.compile with our backend: cutting, falling back, weights that change, layouts, shapes, threads."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading

import numpy as np
import pytest

import cnnkern

from .conftest import assert_same

torch = pytest.importorskip("torch", reason="torch is not installed")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """conv, norm, relu, what `middle` does, conv, pool, linear."""

    def __init__(self, middle=lambda x: x, result=lambda features, y: y):
        super().__init__()
        self.conv1, self.bn, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, 2)
        self.fc, self.middle, self.result = nn.Linear(16, 5), middle, result
        self.bn.running_mean.normal_()
        self.bn.running_var.uniform_(0.5, 2)

    def forward(self, x):
        features = self.middle(F.relu(self.bn(self.conv1(x))))
        y = F.relu(self.conv2(features)).mean((2, 3))
        return self.result(features, self.fc(y))


@pytest.fixture
def x(rng):
    return torch.from_numpy(rng.standard_normal((2, 3, 16, 16), "float32"))


def fallen_back(graph) -> bool:
    """PyTorch's own graph came back."""
    return getattr(graph, "program", None) is None


# --- by name


def test_by_name(x):
    names = {point.name for point in importlib.metadata.entry_points(group="torch_dynamo_backends")}
    if "cnnkern" not in names:  # a checkout that nobody has installed
        torch._dynamo.register_backend(cnnkern.torch.backend, name="cnnkern")
    net = Net().eval()
    fast = torch.compile(net, backend="cnnkern", fullgraph=True)
    assert_same(fast(x), net(x))


def test_options_of_other_names_are_refused(x):
    net = torch.compile(Net().eval(), backend=cnnkern.torch.backend, options={"thread": 2})
    with pytest.raises(Exception, match="threads, precision.*got 'thread'"):
        net(x)


def test_options_reach_the_plan(x, compiled):
    net = Net().eval()
    fast = compiled(net, backend="reference", threads=1)
    assert_same(fast(x), net(x))
    assert fast.graphs[0].program.executables[0].plan.backend == "reference"


def test_without_torch():
    code = (
        "import sys\nsys.modules['torch'] = None\nimport cnnkern\n"
        "try:\n    cnnkern.torch\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'cnnkern[torch]'" in done.stdout, done.stderr


# --- cutting


def test_cut_around_what_cnnkern_does_not_have(x, compiled, silent, capsys):
    net = Net(middle=lambda y: y.sort(-1).values * 2).eval()
    fast = compiled(net, explain=True)
    assert_same(fast(x), net(x))
    (graph,) = fast.graphs
    assert len(graph.program.executables) == 2 and graph.program.whole is None
    said = capsys.readouterr().err
    assert "in 2 pieces on cnnkern" in said and "sort: cnnkern has no such operation" in said
    assert said.strip() == graph.program.explanation()


def test_a_branch_in_pytorch_costs_one_cut(x, compiled, silent):
    """What does not hang on it is in one piece with what comes before it."""
    net = Net(result=lambda features, y: y + features.cumsum(1).mean((1, 2, 3)).unsqueeze(1)).eval()
    fast = compiled(net)
    assert_same(fast(x), net(x))
    assert len(fast.graphs[0].program.executables) == 1


def test_a_whole_network_says_so(x, compiled, capsys):
    fast = compiled(Net().eval(), explain=True)
    fast(x)
    assert "in 1 piece on cnnkern" in (said := capsys.readouterr().err) and "none left in PyTorch" in said


def test_float64_stays_in_pytorch(x, compiled, silent):
    net = Net().eval().double()
    fast = compiled(net)
    assert_same(fast(x.double()), net(x.double()))
    assert fast.graphs[0].program.executables == []


def test_mixed_types_are_cut(x, compiled, silent):
    net = Net(middle=lambda y: (y.double() * 2).float()).eval()
    fast = compiled(net)
    assert_same(fast(x), net(x))
    assert len(fast.graphs[0].program.executables) == 2


# --- falling back


def test_under_grad_pytorch_runs_it(x, compiled):
    net = Net().eval()
    fast = compiled(net)
    cnnkern.backends._warned.discard(("torch", "grad"))
    with torch.enable_grad():
        with pytest.warns(RuntimeWarning, match="gradients are on"):
            y = fast(x)
        y.sum().backward()
        assert fallen_back(fast.graphs[-1]) and net.conv1.weight.grad is not None
    assert_same(fast(x), y.detach())  # without gradients it is ours
    assert not fallen_back(fast.graphs[-1])
    with torch.inference_mode():
        assert_same(fast(x), y.detach())


@pytest.mark.parametrize(
    ("net", "word"),
    [(Net, "batch norm"), (lambda: Net(middle=lambda y: F.dropout(y, training=True)).eval(), "dropout")],
    ids=["batch norm", "dropout"],
)
def test_training_mode_is_pytorchs(net, word, x, compiled):
    net = net()
    fast = compiled(net)
    with pytest.warns(RuntimeWarning, match=f"{word} is in training mode"):
        cnnkern.backends._warned.clear()
        torch.manual_seed(0)
        y = fast(x)
    assert fallen_back(fast.graphs[0])
    net.bn.running_mean.zero_()
    torch.manual_seed(0)
    if word == "dropout":
        assert net(x).shape == y.shape
    else:
        fast(x)
        assert float(net.bn.running_mean.abs().max()) > 0  # it learns


def test_a_changed_argument_is_changed(x, compiled):
    def forward(y):
        y.add_(1)
        return F.relu(y)

    cnnkern.backends._warned.clear()
    given, expected = x.clone(), F.relu(x + 1)
    with pytest.warns(RuntimeWarning, match="changes a tensor"):
        assert_same(compiled(forward)(given), expected)
    assert_same(given, x + 1)


# --- weights


def test_changed_weights_are_noticed(x, compiled, silent):
    net = Net().eval()
    fast = compiled(net)
    changes = [
        lambda: net.conv1.weight.mul_(1.5),
        lambda: net.bn.running_var.add_(1),
        lambda: net.load_state_dict(Net().state_dict()),
        lambda: net.load_state_dict(Net().state_dict(), assign=True),
        lambda: setattr(net.fc.weight, "data", torch.randn(5, 16)),
        lambda: setattr(net, "conv2", nn.Conv2d(8, 16, 3, 2)),
        lambda: net.to(memory_format=torch.channels_last),
    ]
    before = net(x)
    assert_same(fast(x), before)
    for change in changes:
        change()
        assert_same(fast(x), net(x))
    assert float((net(x) - before).abs().max()) > 1e-3


def test_no_check_no_change(x, compiled):
    net = Net().eval()
    fast = compiled(net, check_weights=False)
    fast(x)
    net.conv1.weight.mul_(1.5)
    fast(x)
    assert fast.graphs[0].programs.made == 1


def test_weights_of_every_call_go_to_pytorch(x, compiled):
    net = Net().eval()
    fast = compiled(net)
    cnnkern.backends._warned.clear()
    with pytest.warns(RuntimeWarning, match="change at every call"):
        for _ in range(12):
            net.fc.weight.mul_(1.1)
            assert_same(fast(x), net(x))
    assert fallen_back(fast.graphs[0])


def test_shared_weights(x, compiled, silent):
    conv = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(conv, nn.ReLU(), conv)
    assert_same(compiled(net)(x), net(x))


# --- tensors as they lie


def views(x):
    whole = torch.zeros(4, 5, 40, 40)
    whole[1:3, 1:4, 2:34:2, 1:17] = x
    return {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "strided": whole[1:3, 1:4, 2:34:2, 1:17],
        "turned": x.transpose(2, 3).contiguous().transpose(2, 3),
        "of a gradient's kind": x.clone().requires_grad_(),
        "inference": torch.inference_mode()(lambda: x + 0)(),
    }


@pytest.mark.parametrize("name", ["channels_last", "strided", "turned", "of a gradient's kind", "inference"])
def test_tensors_as_they_lie(name, x, compiled, silent):
    net = Net(result=lambda features, y: (features, y)).eval()
    given = views(x)[name]
    expected = net(given)
    found = compiled(net)(given)
    assert_same(found, expected)
    if cnnkern.backends.default().name == "cpu":  # others hand out dense NCHW
        assert found[0].stride() == expected[0].stride()


def test_memory_is_shared(x, compiled, rng):
    """An input is read where it lies, and an output is nobody else's."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()).eval()
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        fast = compiled(net)
        first, second = fast(given), fast(given)
        assert first.data_ptr() != second.data_ptr()
        seen = []
        piece = fast.graphs[0].program.whole
        run = piece._run
        piece._run = lambda arrays, run=run, seen=seen: seen.extend(arrays) or run(arrays)
        fast(given)
        assert np.shares_memory(seen[0], given.numpy())
        torch._dynamo.reset()


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch, rng, compiled, silent):
    net = Net().eval()
    given = torch.from_numpy(rng.standard_normal((batch, 3, 16, 16), "float32"))
    assert_same(compiled(net)(given), net(given))


RESULTS = {
    "tuple": lambda features, y: (y, features),
    "dict": lambda features, y: {"y": y, "features": features, "none": None}["y"],
    "named": lambda features, y: {"logits": y, "features": [features, y * 2]},
    "twice": lambda features, y: (y, y),
    "view of another": lambda features, y: (y, y.view(-1), features[:, :2]),
    "constant": lambda features, y: (y, torch.ones(3)),
    "number": lambda features, y: (y, y.shape[0]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name, x, compiled, silent):
    net = Net(result=RESULTS[name]).eval()
    expected, found = net(x), compiled(net)(x)
    if name == "number":
        assert found[1] == expected[1]
        expected, found = expected[0], found[0]
    assert_same(found, expected)
    if name == "view of another":
        assert found[1].data_ptr() == found[0].data_ptr()


def test_a_view_of_an_input_is_one(x, compiled):
    fast = compiled(lambda y: (F.relu(y), y.flatten(1)))
    assert fast(x)[1].data_ptr() == x.data_ptr()


def test_two_inputs(x, compiled, silent):
    def forward(a, b):
        return F.relu(a) + b

    other = torch.randn(1, 3, 1, 16)
    assert_same(compiled(forward)(x, other), forward(x, other))


# --- shapes and threads


def test_shapes(rng, compiled, silent):
    """The first is compiled as it is; from the second on TorchDynamo leaves sizes open, and each gets its program."""
    net = Net().eval()
    fast = compiled(net)
    for size in (16, 20, 24, 16, 20, 33, 47, 18, 19, 21, 22, 23, 24):
        given = torch.from_numpy(rng.standard_normal((size % 3 + 1, 3, size, size), "float32"))
        assert_same(fast(given), net(given))
    assert len(fast.graphs) <= 3
    assert len(fast.graphs[-1].programs._kept) <= 8


def test_threads(rng, compiled, silent):
    net = Net().eval()
    fast = compiled(net)
    inputs = [torch.from_numpy(rng.standard_normal((2, 3, 16, 16), "float32")) for _ in range(4)]
    expected, failures = [net(given) for given in inputs], []

    def work(given, wanted):
        try:
            with torch.no_grad():
                for _ in range(20):
                    assert_same(fast(given), wanted)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
