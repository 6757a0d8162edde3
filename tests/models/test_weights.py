"""State dicts: files, names of other libraries, and what does not fit."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import cnnkern
from cnnkern import ModelError, models
from cnnkern.weights import read_state_dict


@pytest.fixture
def tensors():
    return models.create("lenet5", seed=5).state_dict()


@pytest.fixture
def model():
    return models.create("lenet5")


def same(model, tensors) -> bool:
    return all(np.array_equal(model.weights[name], array) for name, array in tensors.items())


# --- files


def save_safetensors(tensors, path):
    pytest.importorskip("safetensors.numpy").save_file(tensors, path, metadata={"format": "pt"})


def save_npz(tensors, path):
    np.savez(path, **tensors)


def save_pth(tensors, path):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(array) for name, array in tensors.items()}, path)


FILES = {"w.safetensors": save_safetensors, "w.npz": save_npz, "w.pth": save_pth, "w.pt": save_pth}


@pytest.mark.parametrize("name", FILES)
def test_files(name, tensors, model, tmp_path):
    FILES[name](tensors, tmp_path / name)
    assert not model.load_state_dict(tmp_path / name)
    assert same(model, tensors)
    os.remove(tmp_path / name)  # the model keeps nothing of the file
    assert same(model, tensors)
    assert not models.create("lenet5").load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 3, 8, 100, 0.5, 0.99, -1])
def test_truncated_files(name, keep, tensors, model, tmp_path):
    path = tmp_path / name
    FILES[name](tensors, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))] if isinstance(keep, float) else whole[:keep])
    before = model.weights
    with pytest.raises(ModelError, match=name):
        model.load_state_dict(str(path))
    assert model.weights is before


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_kind(name, model, tmp_path):
    (tmp_path / name).write_bytes(b"<html>404 not found</html>" * 100)
    with pytest.raises(ModelError, match=name):
        model.load_state_dict(tmp_path / name)


@pytest.mark.parametrize("entry", [
    {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
    {"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]},
    {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**82]},
    {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [2]},
    "nonsense",
])  # fmt: skip
def test_safetensors_headers_that_lie(entry, model, tmp_path):
    header = json.dumps({"c1.weight": entry}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ModelError, match=r"w\.safetensors"):
        model.load_state_dict(tmp_path / "w.safetensors")


def test_a_missing_file_and_an_unknown_suffix(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        model.load_state_dict(tmp_path / "nowhere.npz")
    with pytest.raises(ModelError, match=r"\.caffemodel"):
        model.load_state_dict("bvlc.caffemodel")


def test_npz_with_pickles_is_not_unpickled(model, tmp_path):
    np.savez(tmp_path / "w.npz", **{"c1.weight": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ModelError, match="w.npz"):
        model.load_state_dict(tmp_path / "w.npz")


def test_pth_runs_no_code(torch, model, tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"c1.weight": Malicious()}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="w.pth"):
        model.load_state_dict(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_training_checkpoints_are_unwrapped(torch, tensors, model, tmp_path):
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": torch.tensor(a) for name, a in tensors.items()}}
    torch.save(wrapped, tmp_path / "w.pth")
    model.load_state_dict(tmp_path / "w.pth")
    assert same(model, tensors)


# --- kinds of tensors


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_float_types_are_converted(dtype, tensors, model):
    model.load_state_dict({name: array.astype(dtype) for name, array in tensors.items()})
    assert all(array.dtype == np.float32 for array in model.weights.values())
    assert np.allclose(model.weights["c3.weight"], tensors["c3.weight"], rtol=1e-3)


def test_half_precision_files(torch, tensors, model, tmp_path):
    halves = {name: torch.tensor(array).bfloat16() for name, array in tensors.items()}
    pytest.importorskip("safetensors.torch").save_file(halves, tmp_path / "w.safetensors")
    model.load_state_dict(tmp_path / "w.safetensors")
    assert same(model, {name: tensor.float().numpy() for name, tensor in halves.items()})
    model.load_state_dict(halves)
    assert same(model, {name: tensor.float().numpy() for name, tensor in halves.items()})


def test_integers_are_no_weights(tensors, model):
    with pytest.raises(ModelError, match=r"c1\.weight.*int32"):
        model.load_state_dict({**tensors, "c1.weight": tensors["c1.weight"].astype(np.int32)})


@pytest.mark.parametrize("odd", [{"epoch": 3, "lr": 0.1}, {"c1.weight": "text"}, {3: np.zeros(1)}, {"c1.bias": None}])
def test_dictionaries_of_something_else(odd, model):
    with pytest.raises(ModelError):
        model.load_state_dict(odd)


def test_the_model_keeps_copies(tensors, model):
    mine = {name: array.copy() for name, array in tensors.items()}
    model.load_state_dict(mine)
    mine["c1.weight"][:] = 7
    assert same(model, tensors)


# --- what does not fit


def test_everything_wrong_is_listed(tensors, model):
    del tensors["c3.bias"]
    tensors |= {"c9.weight": np.zeros(3, np.float32), "f6.weight": np.zeros((84, 84), np.float32)}
    with pytest.raises(ModelError) as raised:
        model.load_state_dict(tensors)
    text = str(raised.value)
    for part in ("lenet5", "1 missing: c3.bias", "1 unexpected: c9.weight", "f6.weight (84, 84)", "(84, 120)"):
        assert part in text


def test_long_lists_end_in_a_number():
    with pytest.raises(ModelError, match="102 missing: conv1.weight, .* and 94 more"):
        models.create("resnet18").load_state_dict({})


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "vgg16", "googlenet", "densenet121"])
def test_the_architecture_it_looks_like_is_named(name):
    tensors = {key: np.broadcast_to(np.float32(0), p.shape) for key, p in models.get(name).graph().params.items()}
    with pytest.raises(ModelError, match=f"looks like {name}"):
        models.create("resnet18").load_state_dict(tensors)


@pytest.mark.parametrize(
    "given, wanted, named",
    [
        ("resnet50", "keras_resnet50", "resnet50 or resnet50_v1$"),  # what differs is no weight
        ("keras_resnet50v2", "keras_resnet50", "keras_resnet50v2$"),
        ("keras_resnet50", "resnet50", "keras_resnet50$"),
        ("vgg16", "keras_vgg16", "vgg16$"),
        ("keras_efficientnet_b0", "efficientnet_b0", "keras_efficientnet_b0$"),
        ("tf_efficientnet_b5", "efficientnet_b5", "timm_efficientnet_b5 or tf_efficientnet_b5$"),
        ("keras_inception_v3", "inception_v3", "keras_inception_v3$"),
        ("xception", "keras_xception", "xception$"),
    ],
)
def test_the_variant_it_belongs_to_is_named(given, wanted, named):
    tensors = {key: np.broadcast_to(np.float32(0), p.shape) for key, p in models.get(given).graph().params.items()}
    with pytest.raises(ModelError, match=f"does not fit {wanted}: .*; it looks like {named}"):
        models.create(wanted).load_state_dict(tensors)


def test_a_network_of_another_width_is_known_by_its_names():
    tensors = models.create("keras_mobilenet_v2", num_classes=7).state_dict()
    with pytest.raises(ModelError, match="looks like keras_mobilenet_v2$"):
        models.create("mobilenet_v2").load_state_dict(tensors)


def test_nothing_is_suggested_for_what_nothing_resembles():
    with pytest.raises(ModelError) as raised:
        models.create("resnet18").load_state_dict({f"layer{i}": np.zeros((3, i), np.float32) for i in range(40)})
    assert "looks like" not in str(raised.value)


def test_automatic_names_of_keras_are_counted_anew():
    """A session that made layers before goes on counting."""
    model = models.create("keras_mnist_convnet")
    tensors, late = ones(model.graph), {}
    for name, array in tensors.items():
        layer, _, leaf = name.partition(".")
        kind, _, number = layer.rpartition("_")
        late[f"{kind}_{int(number) + 8}.{leaf}"] = array  # conv2d_9, conv2d_10, conv2d_11
    assert not model.load_state_dict(dict(reversed(late.items())))
    assert same(model, tensors)
    assert not models.create("keras_mnist_convnet", include_top=False).load_state_dict(late)
    with pytest.raises(ModelError, match=r"unexpected: conv2d_9\.weight"):  # two of three: which ones?
        model.load_state_dict({name: array for name, array in late.items() if not name.startswith("conv2d_11")})


def test_not_strict_takes_what_there_is(tensors, model):
    before = model.weights["c3.bias"]
    del tensors["c3.bias"]
    result = model.load_state_dict({**tensors, "other": np.zeros(1, np.float32)}, strict=False)
    assert (result.missing, result.unexpected) == (("c3.bias",), ("other",))
    assert same(model, tensors) and model.weights["c3.bias"] is before
    with pytest.raises(ModelError, match="another shape"):
        model.load_state_dict({"c3.bias": np.zeros(3, np.float32)}, strict=False)


def test_a_failed_load_changes_nothing(tensors, model):
    before = model.weights
    with pytest.raises(ModelError):
        model.load_state_dict({"c1.weight": tensors["c1.weight"]})
    assert model.weights is before


def test_two_names_for_one_weight(model, tensors):
    with pytest.raises(ModelError, match="two tensors"):
        model.load_state_dict({**tensors, "module.c1.weight": tensors["c1.weight"]})


# --- names


def ones(graph) -> dict:
    """A state dict of a graph with a different number in every tensor."""
    return {name: np.full(p.shape, i, np.float32) for i, (name, p) in enumerate(graph.params.items())}


def test_batches_tracked_are_ignored():
    model = models.create("resnet18")
    assert not model.load_state_dict({**model.weights, "bn1.num_batches_tracked": np.array(7)})


@pytest.mark.parametrize(
    "name, extra",
    [("googlenet", "aux1.conv.bn.weight"), ("googlenet", "aux2.fc2.bias"), ("inception_v3", "AuxLogits.fc.weight")],
)
def test_auxiliary_heads_are_left_out(name, extra):
    model = models.create(name)
    assert not model.load_state_dict({**ones(model.graph), extra: np.zeros(3, np.float32)})


def test_published_densenet_names():
    model = models.create("densenet121")
    tensors = ones(model.graph)
    old = {}
    for name, array in tensors.items():
        for kind in ("norm", "conv"):
            for i in "12":
                if "denselayer" in name:
                    name = name.replace(f".{kind}{i}.", f".{kind}.{i}.")
        old[name] = array
    assert "features.denseblock1.denselayer1.norm.1.running_mean" in old and "features.transition1.norm.bias" in old
    model.load_state_dict(old)
    assert same(model, tensors)


def test_linear_layers_stored_as_convolutions():
    """timm keeps VGG's first dense layers as convolutions over the whole map."""
    model = models.create("vgg16", num_classes=2)
    tensors = ones(model.graph)
    timm = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    theirs = {}
    for name, array in tensors.items():
        layer, _, leaf = name.rpartition(".")
        theirs[f"{timm.get(layer, layer)}.{leaf}"] = array
    theirs["pre_logits.fc1.weight"] = theirs["pre_logits.fc1.weight"].reshape(4096, 512, 7, 7)
    theirs["pre_logits.fc2.weight"] = theirs["pre_logits.fc2.weight"].reshape(4096, 4096, 1, 1)
    model.load_state_dict(theirs)
    assert same(model, tensors)


def test_a_network_without_its_top_takes_the_whole_state_dict():
    base = models.create("squeezenet1_1", include_top=False)
    whole = models.create("squeezenet1_1", seed=3).state_dict()
    assert not base.load_state_dict(whole)
    assert np.array_equal(base.weights["features.3.squeeze.weight"], whole["features.3.squeeze.weight"])
    with pytest.raises(ModelError, match="unexpected"):
        base.load_state_dict({**whole, "classifier.9.weight": np.zeros(1, np.float32)})


def test_reading_alone(tensors, tmp_path):
    save_npz(tensors, tmp_path / "w.npz")
    assert read_state_dict(tmp_path / "w.npz").keys() == tensors.keys()
    assert issubclass(cnnkern.ModelError, ValueError)
