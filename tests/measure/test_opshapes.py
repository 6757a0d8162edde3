"""What a word behind `cnnkern bench --ops` means, and where the problems come from."""

from __future__ import annotations

import pytest

from cnnkern.measure.opshapes import SHORT, network_layers, read_lines, resolve


def test_the_short_list_is_real_layers():
    """Each stands in the network that its note names, fused or as the architecture has it."""
    for problem in read_lines(SHORT):
        name = problem.note.split()[-1]
        layers = [layer.problem.text for through in ({}, {"through": ()}) for layer in network_layers(name, **through)]
        assert problem.text in layers, problem


def test_layers_of_a_network_are_counted():
    layers = network_layers("resnet18")
    assert len({layer.problem.text for layer in layers}) == len(layers)
    assert sum(layer.times for layer in layers if layer.problem.spec.op == "conv2d") == 20
    (stem, *_) = layers
    assert stem.times == 1 and stem.problem.shapes[0] == (1, 3, 224, 224) and stem.problem.spec.activation == "relu"
    assert {"batch_norm", "activation", "add"} <= {layer.problem.spec.op for layer in network_layers("resnet18", ())}


def test_words(tmp_path):
    line = "conv2d 1x8x9x9 16x8x3x3"
    file = tmp_path / "mine.txt"
    file.write_text(f"# two\n\n{line}  # mine\nlinear 1x8 3x8\n{line}\n")
    assert [p.text for p in resolve([str(file), line])] == [line, "linear 1x8 3x8"]
    assert resolve([str(file)])[0].note == "mine"
    assert resolve([]) == read_lines(SHORT)
    assert {p.spec.op for p in resolve(["pool"])} == {"pool2d", "global_pool2d"}
    assert [p.spec.op for p in resolve(["LINEAR*"])] == ["linear"]
    assert len(resolve(["lenet5"])) == len(network_layers("lenet5"))


@pytest.mark.parametrize(
    "word, said",
    [("nothing_like_it", "nothing_like_it"), ("conv2d 1x8x9", "shape"), ("linear 1x8 3x8 speed=1", "speed")],
)
def test_words_that_mean_nothing(word, said):
    with pytest.raises(ValueError, match=said):
        resolve([word])


def test_a_bad_line_is_named():
    with pytest.raises(ValueError, match="shapes.txt:3: .*no attribute"):
        read_lines("# one\n\nlinear 1x8 3x8 speed=1", "shapes.txt")


def test_batches():
    problem, gate = read_lines("conv2d 1x8x9x9 16x8x3x3 16 1x16x7x7\nmul 1x8x5x5 1x8x1x1")
    assert problem.batched(16).text == "conv2d 16x8x9x9 16x8x3x3 16 16x16x7x7"
    assert gate.batched(2).text == "mul 2x8x5x5 2x8x1x1"
    (pooled,) = read_lines("roi_max_pool 1x8x9x9 5x5 output_size=(2,2)")
    assert pooled.batched(2).text == "roi_max_pool 2x8x9x9 5x5 output_size=(2,2)"
    with pytest.raises(ValueError, match="batch"):
        problem.batched(0)
