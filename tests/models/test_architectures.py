"""Parameter, buffer and operation counts to the unit; the registry; input sizes and tops."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

from cnnkern import models
from cnnkern.models.registry import ALIASES, ARCHITECTURES, Architecture, register

# What torchvision 0.28, timm 1.0.31 and Keras 3.15 have, counted by a tool that shares nothing with this project; where
# none has the network, from its shapes. Input, parameters, running statistics, MACs, and those of linear layers.
PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())
EPSILON = {"googlenet": 1e-3, "inception_v3": 1e-3, "xception41": 1e-3}  # of batch norms, where it is not 1e-5
EPSILON.update(dict.fromkeys(("googlenet+aux", "inception_v3+aux"), 1e-3), lenet5_1998=0)
# Networks with auxiliary heads: the last layer behind each output. The table's MACs leave out those with a "+".
HEADS = {
    "googlenet_2014_aux": ("loss3/classifier", "loss1/classifier", "loss2/classifier"),
    "googlenet+aux": ("fc", "aux1.fc2", "aux2.fc2"),
    "inception_v3+aux": ("fc", "AuxLogits.fc"),
}
HEADS["fast_rcnn_vgg16"] = ("cls_score", "bbox_pred")
REGIONS = {"fast_rcnn_vgg16": lambda classes: [("R", classes), ("R", 4 * classes)]}  # and a box for each class
MODULES = ("inception_naive", "inception_bottleneck")  # they end in a feature map: no classifier
EPSILON |= dict.fromkeys(("efficientnet_b5", "efficientnet_b6", "efficientnet_b7"), 0.001)
EPSILON |= dict.fromkeys(("inception_resnet_v2", "nasnet_large", "nasnet_mobile"), 0.001)
EPSILON |= {f"tf_efficientnet_b{i}": 1e-3 for i in range(8)}
EPSILON |= dict.fromkeys(models.list("keras_mobilenet*") + models.list("keras_efficientnet*"), 0.001)
EPSILON |= dict.fromkeys(models.list("keras_nasnet*") + models.list("keras_inception*"), 0.001)
EPSILON |= dict.fromkeys(models.list("keras_densenet*"), 1.001e-05) | {"keras_xception": 1e-3}
EPSILON |= {f"keras_resnet{depth}{v}": 1.001e-5 for depth in (50, 101, 152) for v in ("", "v2")}


def test_every_architecture_has_its_row():
    assert set(models.list()) <= set(PUBLISHED)


@pytest.mark.parametrize("name", models.list())
def test_counts_are_the_published_ones(name):
    row = PUBLISHED[name]
    model, published = models.create(name), models.get(name)
    layers = model.summary().layers
    assert "x".join(map(str, model.input_shape)) == row["input"].split(",")[0]
    assert model.param_count == published.params == row["params"]
    assert model.buffer_count == published.bn_buffers == row["bn_buffers"]
    assert model.macs == published.macs
    counted = [layer for layer in layers if "+" not in name or not layer.name.lower().startswith("aux")]
    assert sum(layer.macs for layer in counted) == row["macs"]
    if row["fc_macs"] is not None:
        assert sum(layer.macs for layer in counted if layer.op == "linear") == row["fc_macs"]
    assert model.flops > 2 * model.macs


@pytest.mark.parametrize("name", models.list())
def test_output_is_one_score_per_class(name):
    graph = models.get(name).graph()
    shape = ("N", 672 if name == "inception_naive" else 480, 28, 28)
    if name not in MODULES:
        shape = ("N", models.get(name).num_classes)
    shapes = [shape] * len(HEADS.get(name, "1"))
    assert [graph.shape(output) for output in graph.outputs] == REGIONS.get(name, lambda classes: shapes)(shape[1])
    assert models.get(name).paper.startswith("http")


@pytest.mark.parametrize("name", models.list())
def test_every_batch_norm_has_its_librarys_epsilon(name):
    epsilons = {node.spec.eps for node in models.get(name).graph().nodes if node.spec.op == "batch_norm"}
    assert epsilons <= {EPSILON.get(name, 1e-5)}


@pytest.mark.parametrize("name", models.list())
def test_without_its_top_it_ends_in_a_feature_map(name):
    top, base = models.get(name).graph(), models.get(name).graph(include_top=False)
    assert len(base.shape(base.outputs[0])) == 4
    assert base.params.items() <= top.params.items()
    assert base.shape(base.outputs[0])[1:] == top.shape(base.outputs[0])[1:]


@pytest.mark.parametrize("name", [name for name in models.list() if name not in MODULES])
def test_classes_change_the_last_layer_alone(name):
    default, seven = models.get(name).graph(), models.get(name).graph(num_classes=7)
    heads = HEADS.get(name, (list(default.params)[-1].rpartition(".")[0],))
    shapes = REGIONS.get(name, lambda classes: [("N", classes)] * len(heads))(7)
    assert [seven.shape(output) for output in seven.outputs] == shapes
    changed = [key for key, param in default.params.items() if seven.params[key] != param]
    assert {key.rpartition(".")[0] for key in changed} == set(heads)


@pytest.mark.parametrize(
    ("name", "shape", "least"),
    [
        ("alexnet", (3, 20, 20), 63),
        ("vgg16", (3, 31, 300), 32),
        ("inception_v3", (3, 64, 64), 75),
        ("inception_v3+aux", (3, 224, 224), 299),
        ("lenet5", (1, 28, 28), 32),
        ("deepface", (3, 64, 64), 72),
        ("squeezenet1_1", (4, 1, 1), 17),
    ],
)
def test_too_small_an_input_says_what_would_do(name, shape, least):
    with pytest.raises(ValueError, match=rf"input_shape: .*cannot take.*\({shape[0]}, {least}, {least}\).*layer"):
        models.create(name, input_shape=shape)
    models.create(name, input_shape=(shape[0], least, least))


def test_trained_weights_belong_to_their_size():
    with pytest.raises(ValueError, match=r"input_shape: lenet5-digits comes with weights for \(1, 32, 32\)"):
        models.create("lenet5-digits", input_shape=(1, 33, 39))
    assert models.create("lenet5-digits", input_shape=(1, 33, 39), include_top=False).param_count > 0


def test_other_errors_are_not_blamed_on_the_size():
    with pytest.raises(ValueError, match="^lenet5_1998.*10 classes|^num_classes"):
        models.create("lenet5_1998", num_classes=11, input_shape=(1, 64, 64))
    with pytest.raises(ValueError, match="^input_shape: expected three positive integers"):
        models.create("resnet18", input_shape=(3, 0, 7))


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_no_classifier(name):
    with pytest.raises(ValueError, match=f"num_classes: {name} has no classifier"):
        models.create(name, num_classes=10)


def test_vgg_without_top_at_150():
    model = models.create("vgg16", include_top=False, input_shape=(3, 150, 150))
    assert model.graph.shape(model.graph.outputs[0]) == ("N", 512, 4, 4)
    assert model.param_count == 14_714_688


def test_alexnet_has_the_neurons_of_the_paper():
    model = models.create("alexnet_227")
    neurons = [layer for layer in model.summary().layers if layer.op in ("conv2d", "linear")]
    assert sum(math.prod(layer.output_shape) for layer in neurons) == 659_272


def test_vgg16_activations_are_those_of_the_lectures():
    """15,237,608 values: the picture and every convolution, pool and dense layer, once."""
    layers = models.create("vgg16").summary().layers
    values = [math.prod(x.output_shape) for x in layers if x.op in ("conv2d", "pool2d", "linear")]
    assert sum(values) + 3 * 224 * 224 == 15_237_608


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "squeezenet1_1", "vgg16", "inception_v3"])
def test_other_input_sizes(name):
    graph = models.get(name).graph(input_shape=(3, 160, 192))
    assert graph.params == models.get(name).graph().params
    assert graph.shape(graph.outputs[0]) == ("N", 1000)


def test_too_small_an_input_names_the_layer():
    with pytest.raises(ValueError, match=r"alexnet_227, layer 'conv2'|alexnet_227, layer 'pool"):
        models.create("alexnet_227", input_shape=(3, 16, 16))


@pytest.mark.parametrize("shape", [(3, 224), (3, 0, 224), (3, 224, -1), (1, 3, 224, 224), (3, 22.4, 224), "abc"])
def test_a_bad_input_shape_is_refused(shape):
    with pytest.raises(ValueError, match="input_shape"):
        models.create("resnet18", input_shape=shape)


@pytest.mark.parametrize("classes", [0, -1, 2.5, "ten", True])
def test_a_bad_number_of_classes_is_refused(classes):
    with pytest.raises((TypeError, ValueError), match="num_classes"):
        models.create("resnet18", num_classes=classes)


def test_list_takes_patterns_and_aliases():
    assert models.list("resnet??") == ("resnet18", "resnet34", "resnet50")
    assert models.list("mobilenetv2_100") == ("mobilenet_v2",)
    assert models.list("nothing*") == ()
    assert models.list() == tuple(sorted(ARCHITECTURES))


@pytest.mark.parametrize("alias", ["mobilenetv1_100", "mobilenetv2_100", "bvlc_googlenet"])
def test_aliases_are_the_same_network(alias):
    assert models.get(alias) is models.get(ALIASES[alias])
    assert models.create(alias).name == ALIASES[alias]


@pytest.mark.parametrize(
    "wrong, nearest", [("resnet51", "resnet50"), ("mobilenet_v3", "mobilenet_v2"), ("squeeznet1_1", "squeezenet1_1")]
)
def test_a_wrong_name_gets_the_nearest(wrong, nearest):
    with pytest.raises(ValueError, match=f"{wrong}.*{nearest}"):
        models.create(wrong)


def test_a_name_that_is_none():
    with pytest.raises(ValueError, match="models.list"):
        models.create("xyzzy")
    with pytest.raises(TypeError, match="name"):
        models.create(50)


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="twice"):
        register(Architecture("mobilenetv2_100", lambda *_: "", 0, 0))


@pytest.mark.parametrize("path", sorted(Path(models.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_architectures_import_no_arrays_backends_or_environment(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & {"numpy", "os", "backends", "config"}


def test_seeds():
    first, again, other = (models.create("squeezenet1_1", seed=seed).weights for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["features.0.weight"], other["features.0.weight"])
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in first.values())


def test_weights_do_not_depend_on_what_else_is_in_the_network():
    whole, base = models.create("resnet18").weights, models.create("resnet18", include_top=False).weights
    assert all(np.array_equal(whole[name], array) for name, array in base.items())


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1", "resnet18", "lenet5"])
def test_random_weights_keep_the_signal(name, pictures):
    """Outputs for two pictures differ, neither has faded nor exploded, and batch norms are not the identity."""
    model = models.create(name)
    y = model(pictures((2, *model.input_shape)), backend="reference")
    assert np.abs(y[0] - y[1]).max() / np.ptp(y) > 0.05
    assert 0.1 < np.ptp(y) < 100
    for key, param in model.graph.params.items():
        if param.kind.startswith("bn_"):
            assert model.weights[key].std() > 0.01, key
