"""Files of Keras, written by hand in all their forms, hostile ones among them; test_keras_saves.py has Keras's own."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from cnnkern import ModelError, models
from cnnkern.weights import read_state_dict

h5py = pytest.importorskip("h5py")

NETWORK = "keras_mnist_convnet"
LAYERS = ("conv2d_1", "conv2d_2", "conv2d_3", "dense_1", "dense_2")


@pytest.fixture(scope="module")
def tensors():
    return models.create(NETWORK, seed=5).state_dict()


def stored(tensors) -> dict[str, dict[str, np.ndarray]]:
    """Layer -> Keras's variable -> array in Keras's layout."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    leaves = {"weight": "kernel", "bias": "bias"}
    found: dict[str, dict[str, np.ndarray]] = {layer: {} for layer in LAYERS}
    for name, array in tensors.items():
        layer, _, leaf = name.partition(".")
        found[layer][leaves[leaf]] = array.transpose(axes[array.ndim])
    return found


def described(names) -> dict:
    """A model's description as Keras has it, as far as anybody reads it."""
    kinds = {"conv2d": "Conv2D", "dense": "Dense"}
    layers = [{"class_name": kinds[name.rpartition("_")[0]], "config": {"name": name}} for name in names]
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}


def write_legacy(group, layers, form="{layer}/{leaf}:0"):
    group.attrs["layer_names"] = [layer.encode() for layer in layers]
    for layer, arrays in layers.items():
        inner = group.create_group(layer)
        names = {form.format(layer=layer, leaf=leaf): array for leaf, array in arrays.items()}
        inner.attrs["weight_names"] = [name.encode() for name in names]
        for name, array in names.items():
            inner.create_dataset(name, data=array)
    group.create_group("flatten_1").attrs["weight_names"] = np.array([])


def save_whole(tensors, path, form="{layer}/{leaf}:0"):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(described(LAYERS))
        write_legacy(file.create_group("model_weights"), stored(tensors), form)


def save_whole_keras_3(tensors, path):
    save_whole(tensors, path, "sequential/{layer}/{leaf}")


def save_legacy_weights(tensors, path):
    with h5py.File(path, "w") as file:
        write_legacy(file, stored(tensors))


def save_keras_1(tensors, path):
    layers = {
        name: {("W" if leaf == "kernel" else "b"): a for leaf, a in arrays.items()}
        for name, arrays in stored(tensors).items()
    }
    with h5py.File(path, "w") as file:
        write_legacy(file, layers, "{layer}_{leaf}_1:0")


def save_numbered(tensors, path, named=True, late=0):
    """`late`: layers of each type that the session made before."""
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        file.create_group("optimizer/vars").create_dataset("0", data=np.zeros(3))
        for layer, arrays in stored(tensors).items():
            kind, _, number = layer.rpartition("_")
            k = counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(f"layers/{kind}_{k}" if k else f"layers/{kind}").create_group("vars")
            if named:
                group.attrs["name"] = f"{kind}_{int(number) + late}"
            for i, array in enumerate(arrays.values()):
                group.create_dataset(str(i), data=array)


def save_nameless(tensors, path):
    save_numbered(tensors, path, named=False)


def save_late(tensors, path):
    save_numbered(tensors, path, late=7)  # conv2d_8, conv2d_9, conv2d_10: not in the order of letters


def save_archive(tensors, path, names=LAYERS):
    weights = io.BytesIO()
    save_numbered(tensors, weights, named=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(described(names)))
        archive.writestr("model.weights.h5", weights.getvalue())


FORMS = {
    "whole.h5": save_whole,
    "keras3.h5": save_whole_keras_3,
    "legacy_weights.h5": save_legacy_weights,
    "keras1.h5": save_keras_1,
    "named.weights.h5": save_numbered,
    "late.weights.h5": save_late,
    "nameless.weights.h5": save_nameless,
    "whole.keras": save_archive,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form(name, tensors, tmp_path):
    FORMS[name](tensors, tmp_path / name)
    model = models.create(NETWORK)
    assert not model.load_state_dict(tmp_path / name)
    assert all(np.array_equal(model.weights[key], array) for key, array in tensors.items())


@pytest.mark.parametrize("name", FORMS)
def test_a_network_without_its_top(name, tensors, tmp_path):
    FORMS[name](tensors, tmp_path / name)
    model = models.create(NETWORK, include_top=False)
    assert not model.load_state_dict(tmp_path / name)
    assert all(np.array_equal(array, tensors[key]) for key, array in model.weights.items())


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("keep", [0, 3, 8, 100, 0.5, 0.99, -1])
def test_truncated_files(name, keep, tensors, tmp_path):
    path = tmp_path / name
    FORMS[name](tensors, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))] if isinstance(keep, float) else whole[:keep])
    with pytest.raises(ModelError, match=name):
        models.create(NETWORK).load_state_dict(path)


@pytest.mark.parametrize("name", FORMS)
def test_corrupted_files(name, tensors, tmp_path):
    """In a process of its own, for the HDF5 library has crashed on broken files before."""
    FORMS[name](tensors, tmp_path / name)
    code = (
        "import sys, random; from pathlib import Path; from cnnkern import ModelError; "
        "from cnnkern.weights import read_state_dict\n"
        "path, seed = Path(sys.argv[1]), int(sys.argv[2]); whole = path.read_bytes(); random.seed(seed)\n"
        "for _ in range(60):\n"
        "    broken = bytearray(whole)\n"
        "    for _ in range(random.randint(1, 8)):\n"
        "        broken[random.randrange(random.choice((4096, len(whole))))] ^= random.randrange(1, 256)\n"
        "    path.write_bytes(broken)\n"
        "    try: read_state_dict(path)\n"
        "    except ModelError as error: assert path.name in str(error)\n"
    )
    seed = secrets.randbelow(1 << 32)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / name, str(seed)], capture_output=True, text=True)
    assert done.returncode == 0, f"seed {seed}: {done.returncode} {done.stderr}"


def test_nameless_files_are_for_keras_networks(tensors, tmp_path):
    save_nameless(tensors, tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match="names no layer.*lenet5 is none of Keras.*looks like keras_mnist_convnet"):
        models.create("lenet5").load_state_dict(tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match="has 3 conv2d, keras_cats_dogs has 4.*looks like keras_mnist_convnet"):
        models.create("keras_cats_dogs").load_state_dict(tmp_path / "w.weights.h5")


def test_layers_of_other_names_are_taken_by_their_order(tensors, tmp_path):
    """As Keras does it; what it publishes has names that its networks no longer have."""
    layers = stored(tensors)
    layers["probs"] = layers.pop("dense_2")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write_legacy(file, layers)
    model = models.create(NETWORK)
    assert not model.load_state_dict(tmp_path / "w.h5")
    assert np.array_equal(model.weights["dense_2.weight"], tensors["dense_2.weight"])


def test_depthwise_kernels():
    from cnnkern.keras_weights import our_variable

    kernel = np.arange(3 * 5 * 4 * 2).reshape(3, 5, 4, 2)
    name, array = our_variable("depthwise_conv2d", "kernel", kernel)
    assert name == "weight" and array.shape == (8, 1, 3, 5)
    assert all(array[2 * c + m, 0, r, s] == kernel[r, s, c, m] for r, s, c, m in np.ndindex(kernel.shape))
    assert our_variable("separable_conv2d", "depthwise_kernel", kernel)[0] == "depthwise.weight"


# --- files that mean harm


def one_array(file, name="0", **options):
    group = file.require_group("layers/conv2d/vars")
    return group.create_dataset(name, **options)


def huge_plain(file, folder):
    one_array(file, shape=(1 << 16, 1 << 16), dtype="f4")


def huge_chunked(file, folder):
    one_array(file, shape=(1 << 16, 1 << 16), dtype="f4", chunks=(64, 64), compression="gzip")[0, 0] = 1


def huge_chunks(file, folder):
    one_array(file, shape=(2, 2), maxshape=(None, None), dtype="f4", chunks=(1 << 12, 1 << 12), compression="gzip")[
        :
    ] = 1


def external_link(file, folder):
    with h5py.File(folder / "secret.h5", "w") as other:
        other["vars/0"] = np.ones((2, 2))
    file.create_group("layers")["dense"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


def soft_link(file, folder):
    file["elsewhere/vars/0"] = np.ones((2, 2))
    file.create_group("layers")["dense"] = h5py.SoftLink("/elsewhere")


def external_storage(file, folder):
    (folder / "secret.bin").write_bytes(bytes(64))
    one_array(file, shape=(4, 4), dtype="f4", external=[(str(folder / "secret.bin"), 0, 64)])


def virtual(file, folder):
    with h5py.File(folder / "secret.h5", "w") as other:
        other["x"] = np.ones(4, np.float32)
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (4,))
    file.create_group("layers/dense/vars").create_virtual_dataset("0", layout)


def cycle(file, folder):
    group = file.create_group("layers/dense")
    group["again"] = file["layers"]


def doubled(file, folder):
    """2^30 paths to one group."""
    group = file.create_group("layers/dense")
    for _ in range(30):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


def deep(file, folder):
    file.create_group("layers" + "/sequential" * 3000)


def objects(file, folder):
    one_array(file, data=np.array([b"os.system"], object), dtype=h5py.string_dtype())


def texts_of_numbers(file, folder):
    one_array(file, data=np.ones((2, 2)))
    file["layers/conv2d/vars"].attrs["name"] = np.arange(5)


def absent(file, folder):
    file.attrs["layer_names"] = [b"a"]
    file.create_group("a").attrs["weight_names"] = [b"../kernel"]


HOSTILE = [huge_plain, huge_chunked, huge_chunks, external_link, soft_link, external_storage, virtual, cycle, doubled]
HOSTILE += [deep, objects, texts_of_numbers, absent]


@pytest.mark.parametrize("write", HOSTILE, ids=lambda write: write.__name__)
def test_hostile_files(write, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write(file, tmp_path)
    with pytest.raises(ModelError, match=r"w\.h5"):
        read_state_dict(tmp_path / "w.h5")


def test_files_of_something_else(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(ModelError, match="no weights of Keras"):
        read_state_dict(tmp_path / "w.h5")


@pytest.mark.parametrize("entry", ["../../evil.py", "/etc/passwd", "a/../../b", "C:\\evil", "..\\evil"])
def test_archives_that_point_outside(entry, tensors, tmp_path):
    save_archive(tensors, tmp_path / "w.keras")
    with zipfile.ZipFile(tmp_path / "w.keras", "a") as archive:
        archive.writestr(entry, "evil")
    with pytest.raises(ModelError, match=r"w\.keras.*points outside"):
        read_state_dict(tmp_path / "w.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["w.keras"]


def test_archives_that_unfold_without_end(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(1 << 27))
    with pytest.raises(ModelError, match=r"w\.keras.*would unfold"):
        read_state_dict(tmp_path / "w.keras")


@pytest.mark.parametrize("config", ["[" * 100_000, "{", "3", '{"config": {"layers": [3, {"config": []}]}}', "\ud800"])
def test_descriptions_that_are_none(config, tensors, tmp_path):
    weights = io.BytesIO()
    save_nameless(tensors, weights)
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("config.json", config.encode("utf8", "surrogatepass"))
        archive.writestr("model.weights.h5", weights.getvalue())
    try:  # by the order then
        assert not models.create(NETWORK).load_state_dict(tmp_path / "w.keras")
    except ModelError as error:
        assert "w.keras" in str(error)


def test_without_h5py(monkeypatch, tensors, tmp_path):
    save_whole(tensors, tmp_path / "w.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModelError, match=r"pip install 'cnnkern\[weights\]'"):
        read_state_dict(tmp_path / "w.h5")
