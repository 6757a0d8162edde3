"""torchvision's and timm's own models through torch.compile: one graph, one piece, their outputs."""

from __future__ import annotations

import pytest

from ..models.zoo import VARIATION, randomise, reference_network
from .conftest import assert_same

# (library, name, pixels): small images, where the network allows them
NETWORKS = [
    ("torchvision", "alexnet", 96),
    ("torchvision", "vgg16", 64),
    ("torchvision", "googlenet", 64),
    ("torchvision", "resnet50", 64),
    ("torchvision", "densenet121", 64),
    ("torchvision", "mobilenet_v2", 64),
    ("torchvision", "shufflenet_v2_x1_0", 64),
    ("torchvision", "squeezenet1_0", 64),
    ("torchvision", "efficientnet_b0", 64),
    ("torchvision", "resnext50_32x4d", 64),
    ("torchvision", "inception_v3", 96),
    ("timm", "xception41", 96),
    ("timm", "nasnetalarge", 96),
    ("timm", "legacy_seresnet50", 64),
    ("timm", "seresnet50", 64),
]


@pytest.mark.parametrize(("library", "name", "size"), NETWORKS, ids=[name for _, name, _ in NETWORKS])
def test_whole_in_one_piece(library, name, size, request, torch, compiled, silent, pictures):
    net = reference_network(request.getfixturevalue(library), name)
    randomise(torch, net, size)
    x = pictures(2, size)
    expected = net(x)
    assert float((expected[0] - expected[1]).abs().max()) > VARIATION * float(expected.max() - expected.min())
    fast = compiled(net)
    assert_same(fast(x), expected)
    (graph,) = fast.graphs
    assert graph.program.left == [] and len(graph.program.executables) == 1 and graph.program.whole is not None
    assert_same(fast(x.flip(0)), expected.flip(0))  # that the first call's values are nowhere kept
    assert len(fast.graphs) == 1 and graph.programs.made == 1


def test_layers_carry_the_modules_names(torchvision, compiled, pictures):
    fast = compiled(torchvision.resnet18().eval())
    fast(pictures(1, 64))
    names = [step.name for step in fast.graphs[0].program.executables[0].steps]
    assert names[0] == "conv1" and "layer1.0.conv2" in names and names[-1] == "fc"
