"""`cnnkern summary`: Keras's columns and totals, then memory, MACs and receptive fields."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cnnkern
from cnnkern import models, ops
from cnnkern.graph.builder import GraphBuilder
from cnnkern.measure import schema
from cnnkern.model import Model


def lines(text: str, start: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.startswith(start)]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def test_a_row_shows_what_keras_does_and_more(cnnkern):
    done = cnnkern("summary", "keras_resnet50")
    assert done.code == 0
    assert lines(done.out, "keras_")[0] == "keras_resnet50, input (None, 3, 224, 224)"
    assert done.out.splitlines()[1].split() == [
        "layer", "(type)", "output", "shape", "param", "#", "statistics", "activations", "MACs", "field", "jump",
    ]  # fmt: skip
    [conv] = lines(done.out, "conv1_conv ")
    assert " ".join(conv.split()) == "conv1_conv (conv2d) (None, 64, 112, 112) 9,472 3.06 MiB 118,013,952 7 2"
    [norm] = lines(done.out, "conv1_bn ")  # Keras's 256: gamma and beta, moving mean and variance
    assert " ".join(norm.split()) == "conv1_bn (batch_norm) (None, 64, 112, 112) 256 128 3.06 MiB 7 2"


def test_totals_are_keras_totals_and_pytorchs(cnnkern):
    out = cnnkern("summary", "keras_resnet50").out
    assert lines(out, "Total params")[0].split(None, 2)[2] == "25,636,712 (97.80 MiB) in 320 tensors"
    assert lines(out, "Trainable params")[0].split(None, 2)[2] == "25,583,592 (97.59 MiB) in 214 tensors"
    assert lines(out, "Non-trainable params")[0].split(None, 2)[2] == "53,120 (207.50 KiB) in 106 tensors"
    assert "3,857,973,248" in lines(out, "total")[0] and "3,857,973,248" in lines(out, "MACs")[0]


def test_without_batch_norms_there_is_no_column_for_their_statistics(cnnkern):
    out = cnnkern("summary", "lenet5").out
    assert "statistics" not in out.splitlines()[1]
    assert " ".join(lines(out, "c1 ")[0].split()) == "c1 (conv2d) (None, 6, 28, 28) 156 18.38 KiB 117,600 5 1"
    assert lines(out, "flatten ")[0].split()[-2:] == ["32", "-"]


@pytest.mark.parametrize("columns", [80, 109, 110, 160])
@pytest.mark.parametrize("name", ["inception_resnet_v2", "keras_nasnet_mobile", "vgg16"])
def test_tables_fit_and_names_lose_their_heads(cnnkern, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = cnnkern("summary", name).out
    assert max(map(len, out.splitlines())) <= columns
    assert len(lines(out, "")) >= len(models.create(name).summary().layers)
    head = out.splitlines()[1]
    assert "MACs" in head and "field" in head and ("jump" in head) is (columns >= 110)
    rows = out.splitlines()[3 : 3 + len(models.create(name).summary().layers)]
    for row, layer in zip(rows, models.create(name).summary().layers, strict=True):
        shown = row.split("  ")[0].strip()
        full = f"{layer.name} ({layer.op})"
        assert shown == full or (shown[0] == "…" and full.endswith(shown[1:])), row


def test_json_has_what_the_table_has(cnnkern):
    document = cnnkern("summary", "resnet50", "--json", "-").json
    schema.validate(document)
    assert document["parameters"] == 25_557_032 and document["statistics"] == 53_120
    assert document["total_parameters"] == 25_610_152
    assert document["trainable_tensors"] == 161 and document["statistics_tensors"] == 106
    assert document["memory_bytes"] < document["activation_bytes"]
    layers = document["layers"]
    for total, part in (
        ("parameters", "parameters"), ("statistics", "statistics"), ("trainable_tensors", "trainable_tensors"),
        ("macs", "macs"), ("flops", "flops"), ("activation_bytes", "activation_bytes"),
    ):  # fmt: skip
        assert document[total] == sum(layer[part] for layer in layers), total
    conv, norm = layers[:2]
    assert conv["receptive_field"] == [7, 7] and conv["jump"] == [2, 2] and conv["in_place"] is False
    assert norm["statistics"] == 128 and norm["parameters"] == 128 and norm["in_place"] is True
    assert layers[-1]["jump"] == [0, 0]


def test_no_weight_is_made(cnnkern, monkeypatch):
    monkeypatch.setattr("cnnkern.model.random_weights", None)
    assert cnnkern("summary", "vgg19").code == 0


# --- Summary itself


def test_printing_a_summary_needs_no_rich():
    code = (
        "import sys; sys.modules['rich'] = None; from cnnkern import models; print(models.create('resnet18').summary())"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(cnnkern.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=here)
    text = done.stdout.splitlines()
    assert text[0] == "resnet18, input (None, 3, 224, 224)" and "\x1b" not in done.stdout
    assert " ".join(text[3].split()) == "conv1 (conv2d) (None, 64, 112, 112) 9,408 3.06 MiB 118,013,952 7 2"
    assert " ".join(text[4].split()) == "bn1 (batch_norm) (None, 64, 112, 112) 256 128 3.06 MiB 7 2"
    assert text[-5:-2] == [
        "Total params: 11,699,112 (44.63 MiB) in 102 tensors",
        "Trainable params: 11,689,512 (44.59 MiB) in 62 tensors",
        "Non-trainable params: 9,600 (37.50 KiB) in 40 tensors",
    ]


def test_in_place_means_that_nothing_else_reads_the_input():
    """A pre-activation block's batch norm may not overwrite what its shortcut adds; a result is not overwritten."""
    g = GraphBuilder("pre")
    x = g.conv(g.input((4, 8, 8)), "conv", 4, 1)
    y = g.relu(g.batch_norm(x, "bn"), "relu")
    y = g.add(g.conv(y, "conv2", 4, 1), x, "add")
    out = g.relu(y, "last")
    rows = {row.name: row for row in Model(g.finish([out, y])).summary().layers}
    assert {name for name, row in rows.items() if row.in_place} == {"relu"}
    first = GraphBuilder("first")
    assert not Model(first.finish(first.relu(first.input((1, 2, 2))))).summary().layers[0].in_place


def test_memory_is_the_input_and_every_output_once():
    summary = models.create("vgg16").summary()
    kept = [row for row in summary.layers if row.op in ("conv2d", "pool2d", "linear")]
    values = 3 * 224 * 224 + sum(math.prod(row.output_shape) for row in kept)
    assert summary.memory_bytes == 4 * values == 60_950_432
    assert summary.activation_bytes == sum(row.activation_bytes for row in summary.layers)


def test_an_input_that_is_no_image_has_no_field():
    """Of the two inputs of a region network the picture alone is seen; behind the regions, any of it may be."""
    g = GraphBuilder("regions")
    x, rois = g.conv(g.input((3, 16, 16), "image"), "conv", 4, 3, stride=2), g.regions()
    scaled = g.emit(ops.MulSpec(), (rois, rois), "squares")
    out = g.linear(g.flatten(g.roi_max_pool(x, rois, 2, 0.5, "pool")), "fc", 5)
    summary = Model(g.finish([out, scaled])).summary()
    rows = {row.name: row for row in summary.layers}
    assert summary.title == "regions, image (None, 3, 16, 16), rois (None, 5)"
    assert summary.input_bytes == 4 * (3 * 16 * 16 + 5)
    assert (rows["squares"].receptive_field, rows["squares"].jump) == (None, None)
    assert rows["conv"].receptive_field == (3, 3) and rows["fc"].receptive_field == (15, 15)
    assert [line.split()[-2:] for line in str(summary).splitlines() if line.startswith("squares")] == [["-", "-"]]


def test_a_weight_used_twice_is_counted_once():
    g = GraphBuilder("shared")
    x = g.conv(g.input((4, 8, 8)), "a", 4, 3, padding=1)
    node = g.graph.nodes[0]
    g.finish(g.emit(node.spec, (x, *node.inputs[1:]), "b"))
    a, b = Model(g.graph).summary().layers
    assert (a.params, a.tensors, b.params, b.tensors) == (148, 2, 0, 0) and a.macs == b.macs > 0


@pytest.mark.parametrize("name", ["preact_resnet1001_cifar", "resnet1202_cifar"])
def test_a_thousand_layers_take_less_than_a_second(name):
    model = models.create(name)
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        str(model.summary())
        best = min(best, time.perf_counter() - start)
    assert best < 1.0


@pytest.mark.parametrize("name", models.list())
def test_every_network_has_a_summary(name):
    """Field and jump everywhere, each field at least its input's; sums as the network's own."""
    model = models.create(name)
    summary = model.summary()
    assert summary.params == model.param_count and summary.buffers == model.buffer_count
    assert len(str(summary).splitlines()) == len(summary.layers) + 10
    for row in summary.layers:
        assert min(row.receptive_field) >= 1 and min(row.jump) >= 0, row.name
    assert summary.layers[-1].receptive_field >= summary.layers[0].receptive_field
