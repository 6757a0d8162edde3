"""What the tests against other zoos share: a reference network with random weights, its taps, and the comparison."""

from __future__ import annotations

import numpy as np

import cnnkern
from cnnkern.model import find_value

from .conftest import make_pictures

TOLERANCE = 1e-4  # of the range of the output, or of the tap
VARIATION = 1e-2  # of the range: by how much the outputs of the two inputs differ, or nothing was tested
TAPS = 12


def check_against(torch, library, name: str, theirs: str, size: int, on_reference: bool = False) -> None:
    """Our network `name` with the weights of the library's `theirs`, at `size` pixels, equals it, taps included."""
    net = reference_network(library, theirs)
    randomise(torch, net, size)
    model = cnnkern.models.create(name, input_shape=(3, size, size))
    assert not model.load_state_dict(net.state_dict())
    x = make_pictures((2, 3, size, size))
    names = common_taps(net, model, cnnkern.models.get(name).rename)
    assert len(names) >= 8
    y, taps = run_with_taps(torch, net, x, names)
    check(model, y, taps, x)
    if on_reference:
        check(model, y, {}, x, backend="reference")


def reference_network(library, name: str):
    if not hasattr(library, "get_model_weights"):
        return library.create_model(name, pretrained=False).eval()
    options = {"googlenet": {"aux_logits": True, "init_weights": False}, "inception_v3": {"init_weights": False}}
    return library.get_model(name, weights=None, **options.get(name, {})).eval()


def randomise(torch, net, size: int) -> None:
    """He weights, jittered gamma and beta, and batch-norm statistics taken from one forward pass, then shaken.

    The shaken variances are on the large side: else rounding, the reference's too, grows over a hundred layers beyond
    any tolerance.
    """
    torch.manual_seed(1)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.8, 1.2)
        torch.nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        net(torch.from_numpy(make_pictures((4, 3, size, size), seed=3)))
        for norm in norms:
            norm.eval()
            norm.running_mean += 0.05 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(1.0, 1.4)


def run_with_taps(torch, net, x: np.ndarray, names: dict[str, str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output, and the outputs of these modules under our names, copied before anything writes over them."""
    taps: dict[str, np.ndarray] = {}
    modules = dict(net.named_modules())
    hooks = [
        modules[theirs].register_forward_hook(lambda m, i, out, ours=ours: taps.__setitem__(ours, out.numpy().copy()))
        for theirs, ours in names.items()
    ]
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    for hook in hooks:
        hook.remove()
    return y, taps


def common_taps(net, model, rename) -> dict[str, str]:
    """Their module -> our layer or block, for some that both have, spread over the network's depth."""
    pairs = {}
    parts = [node.name.split(".") for node in model.graph.nodes]
    known = {*model.graph.values, *(".".join(part[:i]) for part in parts for i in range(1, len(part)))}
    for name, module in net.named_modules():
        ours = ((rename(f"{name}.weight") or "") if rename else name).removesuffix(".weight")
        fused = "Act2d" in type(module).__name__ or type(net).__module__.startswith("timm") and name == "features"
        if name and not fused and ours in known:  # timm's norms, and what ends in one, hold the activation too
            pairs[name] = find_value(model.graph, ours)
    names = list(pairs)[:: max(1, len(pairs) // TAPS)]
    return {name: pairs[name] for name in names}


def error(mine: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the range of what is expected."""
    assert mine.shape[:2] == theirs.shape[:2]
    return float(np.abs(mine - theirs.reshape(mine.shape)).max() / np.ptp(theirs))  # timm may keep (N, C, 1, 1)


def check(model, y: np.ndarray, taps: dict[str, np.ndarray], x, backend=None) -> None:
    """The first output and the taps on `x`, an array or a tuple of all inputs."""
    assert np.abs(y[0] - y[1]).max() > VARIATION * np.ptp(y), "the two inputs give the same output: nothing is tested"
    expected = {**taps, model.graph.outputs[0]: y}
    mine = model.features(x, list(expected), backend=backend)
    errors = {name: error(mine[name], theirs) for name, theirs in expected.items()}
    plain = model(x, backend=backend)  # where nothing hinders fusion
    errors["untapped"] = error(plain[0] if isinstance(plain, tuple) else plain, y)
    print({name: f"{value:.1e}" for name, value in errors.items()})
    wrong = {name: value for name, value in errors.items() if not value <= TOLERANCE}
    assert not wrong, f"{model.name}: {wrong}"
