"""Weights as Keras writes them: whole models in .h5, weights alone in .h5 and .weights.h5, and .keras archives.

Layouts become this library's: kernels (R, S, C, K) -> (K, C, R, S), depthwise ones (R, S, C, M) -> (C M, 1, R, S),
dense ones (F, K) -> (K, F). So do the names of variables: kernel and gamma are `weight`, beta is `bias`. Layers keep
Keras's names, which the keras_* networks have too; the models that a model is made of leave no trace in them.

Keras names a layer that was given no name by its type and by how many of the type the session had made: conv2d_17. Such
names are counted anew (`counted_anew`). Keras 3 before 3.6 wrote no names into .weights.h5 at all, only each type's
layers in the order of the model; `keras_order` has what is known of that.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ModelError
from .hdf5 import Array, Group, most_bytes, opened

CONV, DEPTHWISE, SEPARABLE, NORM = "conv2d", "depthwise_conv2d", "separable_conv2d", "batch_normalization"
LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "bias": "bias"}
LEAVES |= {"moving_variance": "running_var", "depthwise_kernel": "depthwise.weight"}
LEAVES |= {"pointwise_kernel": "pointwise.weight"}
# Keras 1, which wrote the weights that keras.applications offers for VGG: block1_conv1_W_1:0
OLD_LEAVES = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
OLD_LEAVES |= {name: name for name in ("gamma", "beta", "depthwise_kernel", "pointwise_kernel")}
OLD_NAME = re.compile(rf".+?_({'|'.join(OLD_LEAVES)})(?:_\d+)?")
NUMBERED = re.compile(r"(.+?)(?:_(\d+))?")
PREPROCESSING = ("normalization", "rescaling")  # what they hold is left to whoever prepares the picture
NO_LAYERS = ("vars", "optimizer", "metrics", "compile_metrics", "loss", "seed_generator")
ARCHIVED = ("config.json", "model.weights.h5")


@dataclass
class Layer:
    """A layer that holds variables: its name if the file says it, its type in snake case, arrays by Keras's leaf."""

    name: str | None
    kind: str
    within: str  # the models around it, as the file has them
    path: str
    variables: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        if not self.kind:  # weights alone do not say it, their names do
            kinds = {"pointwise_kernel": SEPARABLE, "depthwise_kernel": DEPTHWISE, "moving_mean": NORM}
            ranks = {2: "dense", 4: CONV}
            known = [kind for leaf, kind in kinds.items() if leaf in self.variables]
            self.kind = (*known, ranks.get(np.ndim(self.variables.get("kernel")), ""))[0]

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """By our leaf, in our layout."""
        return dict(our_variable(self.kind, leaf, array) for leaf, array in self.variables.items())


def our_variable(kind: str, leaf: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Our name and layout of a variable of one layer.

    Args:
        kind: the layer's class in snake case, such as "depthwise_conv2d".
        leaf: the variable's name without the layer's, such as "kernel"; a name that is not known stays as it is.
    """
    name = LEAVES.get(leaf, leaf)
    if kind == SEPARABLE and leaf == "bias":
        name = "pointwise.bias"
    if leaf == "depthwise_kernel" or (kind == DEPTHWISE and leaf == "kernel"):
        name = "depthwise.weight" if kind == SEPARABLE else "weight"
        if array.ndim == 4:
            r, s, c, m = array.shape
            return name, array.transpose(2, 3, 0, 1).reshape(c * m, 1, r, s)
    if leaf in ("kernel", "pointwise_kernel") and array.ndim > 1:
        array = array.transpose(array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))
    return name, array


def named(layers: list[Layer]) -> bool:
    """Whether the file tells its layers apart by name."""
    names = [layer.name for layer in layers]
    return None not in names and len({*names}) == len(names)


def by_name(layers: list[Layer]) -> dict[str, np.ndarray]:
    """The layers' arrays by layer and leaf; the path in the file stands for a name that is missing or not the only
    one."""
    names = [layer.name for layer in layers]
    unique = {name for name in names if name is not None and names.count(name) == 1} if not named(layers) else {*names}
    return {
        f"{layer.name if layer.name in unique else layer.path}.{leaf}": array
        for layer in layers
        for leaf, array in layer.weights.items()
    }


def read_layers(path: Path) -> list[Layer]:
    """The layers of a file of Keras that hold variables; optimizers and preprocessing are left out.

    Layers of one type come in the order that the model has them in.

    Raises:
        ModelError: a truncated, corrupt or hostile file, or no file of Keras.
    """
    layers = [layer for layer in _layers(path) if layer.variables]
    if not layers:
        raise ModelError("no weights of Keras in it")
    return layers


def _layers(path: Path) -> list[Layer]:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        config, weights = _archived(path)
        with opened(io.BytesIO(weights), len(weights)) as root:
            return _numbered(root, config)
    with opened(str(path), path.stat().st_size) as root:
        if "model_weights" in root or root.texts("layer_names") is not None:
            return _legacy(root)
        return _numbered(root, None)


# --- .keras: a zip of the model's description and a .weights.h5


def _archived(path: Path) -> tuple[Any, bytes]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name:
                raise ModelError(f"its entry {name!r} points outside the archive")
        missing = [name for name in ARCHIVED if name not in archive.namelist()]
        if missing:
            raise ModelError(f"no {' and no '.join(missing)} in it: not a model of Keras")
        config, weights = (_unpacked(archive, name) for name in ARCHIVED)
    try:
        return json.loads(config), weights
    except (ValueError, RecursionError) as error:
        raise ModelError(f"config.json in it is not JSON ({error})") from error


def _unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > most_bytes(info.compress_size):
        raise ModelError(f"{name} in it would unfold from {info.compress_size:,} bytes to {info.file_size:,}")
    try:
        return archive.read(info)
    except Exception as error:  # of zlib, lzma, struct, or that it is encrypted
        raise ModelError(f"truncated or corrupt ({name}: {error})") from error


def described(config: Any) -> list[dict]:
    """The layers of a model's description, in its order: dictionaries with class_name and config; [] where it has none.

    Keras 1 has a Sequential's layers as its config itself.
    """
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def name_of(layer: dict) -> str | None:
    config = layer.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else None


def snake_case(class_name: str) -> str:
    """As Keras does it: DepthwiseConv2D -> depthwise_conv2d."""
    split = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", split).lower()


# --- .weights.h5: layers/<type>[_k]/vars/{0, 1, ...}


def _numbered(root: Group, config: Any) -> list[Layer]:
    # TensorFlow 2.13 wrote the other name
    top = next((name for name in ("layers", "_layer_checkpoint_dependencies") if root.group(name)), None)
    start = root.group(top) if top else root
    return list(_walk(start, described(config), "", bool(top)))


def _walk(group: Group, description: list[dict], path: str, is_list: bool) -> Iterator[Layer]:
    """The layers below a group. `is_list`: its children are a model's layers, named by type and number."""
    children = sorted((name for name in group if name not in NO_LAYERS), key=number_of)
    told = _told(group, children, description) if is_list else {}
    for name in children:
        child = group.group(name)
        if child is None:
            continue
        here = f"{path}/{name}" if path else name
        if name in ("layers", "_layer_checkpoint_dependencies") and not is_list:
            yield from _walk(child, description, path, True)
            continue
        what = told.get(name, {})
        variables = child.group("vars")
        if variables is not None:
            label = variables.text("name") or name_of(what)
            kind = type_of(name) if is_list else type_of(label or name)
            arrays = {leaf: variables.get(leaf) for leaf in sorted(variables, key=number_of)}
            yield _layer(label, kind, here, arrays, what)
        yield from _walk(child, described(what), here, False)


def _told(group: Group, children: list[str], description: list[dict]) -> dict[str, dict]:
    """What the description says of each child: the k-th of its type, where there are as many."""
    told = {}
    for kind in {type_of(name) for name in children}:
        ours = [name for name in children if type_of(name) == kind]
        theirs = [layer for layer in description if snake_case(str(layer.get("class_name"))) == kind]
        if len(ours) == len(theirs):
            told |= dict(zip(ours, theirs))
    return told


def number_of(name: str) -> tuple[str, int]:
    """("conv2d", 10) of conv2d_10, which comes after conv2d_9 and not after conv2d_1."""
    if name.isdecimal():
        return "", int(name)
    base, number = NUMBERED.fullmatch(name).groups() if "\n" not in name else (name, None)
    return base, int(number) if number and len(number) < 10 else -1


def type_of(name: str) -> str:
    return number_of(name)[0]


def _layer(name: str | None, kind: str, path: str, arrays: Mapping[str, Any], described: dict) -> Layer:
    """A layer whose variables the file numbers."""
    layer = Layer(name, kind, path.rpartition("/")[0], path)
    if kind in PREPROCESSING:
        return layer
    stored = [array for array in arrays.values() if isinstance(array, Array)]
    config = described.get("config")
    leaves = _leaves(kind, [array.shape for array in stored], config if isinstance(config, dict) else {})
    layer.variables = {leaf: array.read() for leaf, array in zip(leaves, stored)}
    return layer


def _leaves(kind: str, shapes: list[tuple], config: dict) -> list[str]:
    """The names of a layer's variables from their order: Keras's, then numbers."""
    ranks = [len(shape) for shape in shapes]
    if kind == NORM or (kind not in (CONV, DEPTHWISE, SEPARABLE) and ranks in ([1] * 3, [1] * 4)):
        absent = {leaf for flag, leaf in (("scale", "gamma"), ("center", "beta")) if config.get(flag) is False}
        if not absent and len(shapes) < 4:
            absent = {"gamma"} if len(shapes) == 3 else {"gamma", "beta"}
        known = [leaf for leaf in ("gamma", "beta", "moving_mean", "moving_variance") if leaf not in absent]
    elif kind == SEPARABLE or ranks[:2] == [4, 4]:
        known = ["depthwise_kernel", "pointwise_kernel", "bias"]
    elif ranks and ranks[0] > 1:
        known = ["kernel", "bias"]
    else:
        known = []
    return [*known[: len(shapes)], *map(str, range(len(known), len(shapes)))]


# --- whole-model .h5, and weights alone as Keras 2 wrote them


def _legacy(root: Group) -> list[Layer]:
    config = root.text("model_config")
    try:
        told = list(_told_of_all(json.loads(config))) if config else []
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its model_config is not JSON ({error})") from error
    kinds = {name: kind for name, kind, _ in told}
    plain = {name for name, _, is_model in told if not is_model}
    top = root.group("model_weights") or root
    layers = []
    for outer in top.texts("layer_names") or []:
        group = top.group(outer)
        if group is None:
            raise ModelError(f"truncated or corrupt (no group for the layer {outer})")
        for owner, variables in _owners(outer, group.texts("weight_names") or [], plain, kinds).items():
            kind = kinds.get(owner, "")
            if kind in PREPROCESSING or type_of(owner) in PREPROCESSING:
                continue
            arrays = {leaf: group.get(weight) for leaf, weight in variables.items()}
            gone = [leaf for leaf, array in arrays.items() if not isinstance(array, Array)]
            if gone:
                raise ModelError(f"truncated or corrupt (no array for {owner}/{gone[0]})")
            within = "" if owner == outer else f"{outer}/"
            read = {leaf: array.read() for leaf, array in arrays.items()}
            layers.append(Layer(owner, kind, within, within + owner, read))
    return layers


def _told_of_all(config: Any) -> Iterator[tuple[str, str, bool]]:
    """(name, type in snake case, whether it is a model) of every layer described, those of nested models too."""
    for layer in described(config):
        name = name_of(layer)
        if name is not None:
            yield name, snake_case(str(layer.get("class_name"))), bool(described(layer))
        yield from _told_of_all(layer)


def _owners(outer: str, weights: list[str], plain: set[str], known: Collection[str]) -> dict[str, dict[str, str]]:
    """Layer -> its leaves -> the names by which a layer's group has them.

    The group is that of `outer` itself, or of a nested model of that name, where "base/conv2d_1/kernel:0" belongs to
    conv2d_1. A layer's own name may hold a "/".
    """
    places = {weight.partition(":")[0].rpartition("/")[0] for weight in weights}
    owners: dict[str, dict[str, str]] = {}
    for weight in weights:
        place, _, leaf = weight.partition(":")[0].rpartition("/")
        ends = [place.split("/", i)[-1] for i in range(place.count("/") + 1)]  # the longest first
        owner = next((end for end in ends if end in known), ends[-1])
        if outer in plain or outer in ends or (not known and len(places) == 1):
            owner = outer
        found = OLD_NAME.fullmatch(leaf)
        leaf = OLD_LEAVES[found[1]] if found and not place else leaf
        variables = owners.setdefault(owner, {})
        variables[leaf if leaf not in variables else weight] = weight
    return owners


# --- names that count a session's layers

COUNTED = ("conv2d", "depthwise_conv2d", "separable_conv2d", "batch_normalization", "dense")
AUTO = re.compile(rf"({'|'.join(COUNTED)})(?:_(\d+))?")


def counted_anew(keys: Collection[str], params: Collection[str]) -> dict[str, str]:
    """Keys of automatically named layers -> the names that a network has for them: each type's in their order.

    conv2d_17.weight, conv2d_18.weight -> conv2d_1.weight, conv2d_2.weight. A type of which there are more or fewer
    stays as it is, and so does one whose names fit.
    """
    ours = _counted(params)
    if not ours:
        return {}
    theirs, layers = _counted(keys), {}
    for kind, numbers in theirs.items():
        if numbers != ours.get(kind) and len(numbers) == len(ours.get(kind, ())):
            layers |= {_auto(kind, a): _auto(kind, b) for a, b in zip(sorted(numbers), sorted(ours[kind]))}
    parts = {key: key.partition(".") for key in keys}
    return {key: f"{layers[layer]}.{leaf}" for key, (layer, _, leaf) in parts.items() if layer in layers}


def _counted(keys: Collection[str]) -> dict[str, set[int]]:
    """Type -> numbers of its automatically named layers; -1 where there is none."""
    found: dict[str, set[int]] = {}
    for key in keys:
        match = AUTO.fullmatch(key.partition(".")[0])
        if match:
            found.setdefault(match[1], set()).add(int(match[2]) if match[2] and len(match[2]) < 10 else -1)
    return found


def _auto(kind: str, number: int) -> str:
    return kind if number < 0 else f"{kind}_{number}"
