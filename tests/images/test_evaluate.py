from __future__ import annotations

import numpy as np
import pytest

from cnnkern import evaluate, images, models
from cnnkern.evaluate import topk


def test_sorted_best_first():
    scores = np.random.default_rng(0).standard_normal((3, 4, 17)).astype(np.float32)
    indices, values = topk(scores, 5)
    assert indices.shape == values.shape == (3, 4, 5)
    assert values.dtype == np.float32 and indices.dtype == np.int64
    np.testing.assert_array_equal(values, -np.sort(-scores, axis=-1)[..., :5])
    np.testing.assert_array_equal(np.take_along_axis(scores, indices, -1), values)


def test_ties_keep_the_order_of_the_classes():
    assert topk([1, 3, 3, 0, 3, 1], 6).indices.tolist() == [1, 2, 4, 0, 5, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_any_number_type(dtype):
    result = topk(np.array([0, 200 if dtype is not np.float16 else 2, 1], dtype=dtype), 2)
    assert result.indices.tolist() == [1, 2]
    assert result.values.dtype == dtype


def test_infinities_and_nan():
    assert topk([-np.inf, np.inf, 0.0], 3).indices.tolist() == [1, 2, 0]
    assert topk([1.0, np.nan, np.inf], 2).indices.tolist() == [1, 2]


def test_no_rows():
    assert topk(np.zeros((0, 10)), 3).indices.shape == (0, 3)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"k: 1 to 3.*got {k}"):
        topk([1.0, 2.0, 3.0], k)


def test_scores_without_an_axis():
    with pytest.raises(ValueError, match="scores"):
        topk(3.0, 1)


# --- errors and losses


def test_topk_error_counts_rows_that_miss(rng):
    scores, labels = rng.standard_normal((50, 9)), rng.integers(0, 9, 50)
    ranks = [(row > row[label]).sum() for row, label in zip(scores, labels)]
    for k in (1, 3, 9):
        assert evaluate.topk_error(scores, labels, k) == pytest.approx(np.mean([rank >= k for rank in ranks]))
    assert evaluate.topk_error(scores, labels, 9) == 0


def test_topk_error_of_ties_goes_by_the_order_of_the_classes():
    assert evaluate.topk_error([[1, 1, 1]] * 3, [0, 1, 2], k=2) == pytest.approx(1 / 3)


def test_hinge_loss_of_the_lecture():
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]], np.float32)
    for row, loss in zip(scores, (2.9, 0.0, 12.9)):
        label = [0, 1, 2][[2.9, 0.0, 12.9].index(loss)]
        assert evaluate.hinge_loss(row[np.newaxis], [label]) == pytest.approx(loss, abs=1e-6)
    assert evaluate.hinge_loss(scores, [0, 1, 2]) == pytest.approx(15.8 / 3, abs=1e-6)


def test_hinge_loss_is_torchs(rng):
    torch = pytest.importorskip("torch")
    scores, labels = rng.standard_normal((20, 7)), rng.integers(0, 7, 20)
    theirs = torch.nn.functional.multi_margin_loss(torch.from_numpy(scores), torch.from_numpy(labels)).item()
    assert evaluate.hinge_loss(scores, labels) == pytest.approx(7 * theirs)  # torch divides by the classes


@pytest.mark.parametrize("judge", [evaluate.hinge_loss, evaluate.topk_error])
@pytest.mark.parametrize(
    "scores, labels, words",
    [
        ([1.0, 2.0], [0], "scores: .*got \\(2,\\)"),
        (np.zeros((0, 5)), np.zeros(0, int), "scores: .*at least one row"),
        (np.zeros((2, 5)), [0], r"labels: an array \(2,\)"),
        (np.zeros((2, 5)), [0.0, 1.0], "labels: .*float64"),
        (np.zeros((2, 5)), [0, 5], "labels: 0 to 4.*got 0 to 5"),
        (np.zeros((2, 5)), [-1, 0], "labels: 0 to 4.*got -1 to 0"),
    ],
)
def test_bad_scores_and_labels_are_named(judge, scores, labels, words):
    with pytest.raises(ValueError, match=words):
        judge(scores, labels)


# --- probabilities and ensembles


class Network:
    """A callable that scores the mean of each channel of its input; without a graph."""

    name = "means"

    def __init__(self, size: int = 8, classes: int = 4, name: str = "means"):
        self.input_shape, self.classes, self.name, self.batches = (3, size, size), classes, name, []

    def __call__(self, x):
        self.batches.append(len(x))
        means = x.mean(axis=(2, 3), dtype=np.float64)
        return np.stack([means[:, i % 3] * (i + 1) for i in range(self.classes)], axis=1).astype(np.float32)


def softmax(scores):
    powers = np.exp(scores.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def test_probabilities_of_logits():
    scores = np.array([[1e4, 0.0, 1e4], [-3.0, -2.0, -1.0]], np.float32)
    found = evaluate.probabilities(models.create("lenet5"), scores)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [0.5, 0, 0.5])
    np.testing.assert_allclose(found[1], softmax(scores[1:])[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["keras_mnist_convnet", "keras_cats_dogs"])
def test_probabilities_of_a_network_that_ends_in_them(name):
    scores = np.array([[0.25]], np.float32)
    model = models.create(name)
    assert evaluate.probabilities(model, scores) is scores
    np.testing.assert_array_equal(evaluate.probabilities(model, scores, logits=True), [[1.0]])


def test_without_a_graph_scores_are_logits_unless_told():
    scores = np.array([[0.0, 1.0]], np.float32)
    np.testing.assert_allclose(evaluate.probabilities(Network(), scores), softmax(scores), rtol=1e-6)
    assert evaluate.probabilities(Network(), scores, logits=False) is scores


def test_probabilities_of_a_feature_map():
    with pytest.raises(ValueError, match=r"scores: .*\(1, 512, 7, 7\) from means"):
        evaluate.probabilities(Network(), np.zeros((1, 512, 7, 7), np.float32))


def test_ensemble_is_the_mean_of_the_members_probabilities(rng):
    pair = [models.create("lenet5", seed=1), models.create("lenet5", seed=2)]
    x = rng.standard_normal((3, 1, 32, 32), np.float32)
    y = evaluate.ensemble(pair, x)
    assert y.shape == (3, 10) and y.dtype == np.float32
    np.testing.assert_allclose(y, sum(softmax(m(x)) for m in pair) / 2, rtol=1e-5)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(evaluate.ensemble(pair[:1], x), softmax(pair[0](x)), rtol=1e-5)


def test_members_that_end_in_a_softmax_get_no_second_one_and_may_take_other_sizes(rng):
    lenet, keras = models.create("lenet5"), models.create("keras_mnist_convnet")
    x = [rng.standard_normal((2, 1, side, side), np.float32) for side in (32, 28)]
    y = evaluate.ensemble([lenet, keras], x)
    np.testing.assert_allclose(y, (softmax(lenet(x[0])) + keras(x[1])) / 2, rtol=1e-5)


def test_an_ensemble_whose_members_do_not_fit():
    x = np.zeros((2, 3, 8, 8), np.float32)
    with pytest.raises(ValueError, match="models: at least one"):
        evaluate.ensemble([], x)
    with pytest.raises(ValueError, match=r"models: .*a \(2, 4\), b \(2, 5\)"):
        evaluate.ensemble([Network(name="a"), Network(classes=5, name="b")], x)
    with pytest.raises(ValueError, match="x: one array, or 2.*got 3"):
        evaluate.ensemble([Network(), Network()], [x, x, x])


# --- crops


def photograph(size=(12, 16)):
    return np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("given", [1, 5, 10])
def test_multi_crop_is_the_mean_over_all_crops(given):
    net, pixels = Network(), photograph()
    found = evaluate.multi_crop(net, pixels, scales=(8, 9, 12), crops=given, batch_size=4)
    assert found.crops.shape == (3, given, 4) and found.probabilities.shape == (4,)
    picture, shape = images.as_image(pixels), net.input_shape
    for scale, rows in zip((8, 9, 12), found.crops):
        x = images.normalise(images.crops(picture, "means", shape, scale, given), images.recipe("means"))
        np.testing.assert_allclose(rows, softmax(net(x)), rtol=1e-5)
    np.testing.assert_allclose(found.probabilities, found.crops.reshape(-1, 4).mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    "batch_size, batches", [(50, [30]), (10, [10] * 3), (7, [6] * 5), (1, [1] * 30), (29, [15] * 2)]
)
def test_crops_come_in_batches_of_one_size(batch_size, batches):
    net = Network()
    together = evaluate.multi_crop(net, photograph(), scales=(8, 9, 12), batch_size=30)
    net.batches.clear()
    found = evaluate.multi_crop(net, photograph(), scales=(8, 9, 12), batch_size=batch_size)
    assert net.batches == batches
    np.testing.assert_array_equal(found.crops, together.crops)


def test_multi_crop_of_a_picture_without_content_is_one_crop():
    net = Network()
    grey = np.full((40, 30, 3), 99, np.uint8)
    found = evaluate.multi_crop(net, grey, scales=(8, 16))
    np.testing.assert_allclose(found.crops, np.broadcast_to(found.probabilities, (2, 10, 4)), rtol=1e-6)


def test_multi_crop_of_a_network_reads_every_kind_of_picture(tmp_path):
    model = models.create("resnet20_cifar")
    images.photograph().save(tmp_path / "photo.png")
    kinds = (images.photograph(), tmp_path / "photo.png", np.asarray(images.photograph()))
    found = [evaluate.multi_crop(model, kind, scales=(32, 40)) for kind in kinds]
    for one in found:
        np.testing.assert_array_equal(one.crops, found[0].crops)
    assert np.ptp(found[0].crops[:, :, 0]) > 0
    np.testing.assert_allclose(found[0].crops.sum(axis=2), 1, rtol=1e-5)
    x = images.prepare(images.photograph(), "resnet20_cifar", model.input_shape)
    np.testing.assert_allclose(found[0].crops[0, 4], softmax(model(x))[0], rtol=1e-4)


def test_multi_crop_of_a_network_with_an_auxiliary_head_takes_its_main_one():
    class Two(Network):
        def __call__(self, x):
            y = super().__call__(x)
            return y, np.zeros((len(x), 3), np.float32)

    one, two = (evaluate.multi_crop(net, photograph(), scales=(9,)) for net in (Network(), Two()))
    np.testing.assert_array_equal(one.crops, two.crops)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scales": (7, 9, 12)}, r"scales: 7 .*means's input of 8 pixels; 8 and more.*\(8, 9, 12\)"),
        ({"scales": ()}, "scales: at least one"),
        ({"scales": (8.5,)}, "scales: .*8.5"),
        ({"scales": (0,)}, "scales: .*positive"),
        ({"crops": 3}, "crops: 1, 5 or 10 is accepted, got 3"),
        ({"batch_size": 0}, "batch_size: .*got 0"),
        ({"image": photograph().astype(np.float32)}, "image: .*float32"),
    ],
)
def test_multi_crop_names_what_is_wrong(options, words):
    options = {"image": photograph(), "scales": (9,), **options}
    with pytest.raises(ValueError, match=words):
        evaluate.multi_crop(Network(), **options)


def test_the_default_scales_for_a_network_of_299_say_which_would_do():
    with pytest.raises(ValueError, match=r"224, 256 would be smaller than inception_v3's.*\(299, 342, 384, 480, 640\)"):
        evaluate.multi_crop(models.create("inception_v3"), photograph())


# --- neighbours


def neighbours_by_hand(features, queries, k):
    f, q = features.astype(np.float64), queries.astype(np.float64)
    distances = np.sqrt(((f[np.newaxis] - q[:, np.newaxis]) ** 2).sum(axis=2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


@pytest.mark.parametrize("block_bytes", [1, 5000, evaluate.BLOCK_BYTES])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_nearest_is_brute_force(rng, monkeypatch, block_bytes, offset):
    monkeypatch.setattr(evaluate, "BLOCK_BYTES", block_bytes)
    features = (rng.standard_normal((60, 11)) + offset).astype(np.float32)
    queries = (rng.standard_normal((70, 11)) + offset).astype(np.float32)
    for k in (1, 4, 60):
        indices, distances = evaluate.nearest(features, queries, k)
        theirs, lengths = neighbours_by_hand(features, queries, k)
        np.testing.assert_array_equal(indices, theirs)
        np.testing.assert_allclose(distances, lengths, rtol=1e-12)
    assert indices.dtype == np.int64 and distances.dtype == np.float64


@pytest.mark.parametrize("block_bytes", [1, 3000, evaluate.BLOCK_BYTES])
def test_equal_neighbours_are_in_order_of_their_indices(rng, monkeypatch, block_bytes):
    monkeypatch.setattr(evaluate, "BLOCK_BYTES", block_bytes)
    distinct = rng.standard_normal((3, 301), np.float32)
    which = rng.integers(0, 3, 40)
    indices, distances = evaluate.nearest(distinct[which], distinct, 40)
    for kind, (row, lengths) in enumerate(zip(indices, distances)):
        same = np.flatnonzero(which == kind)
        assert row[: len(same)].tolist() == same.tolist() and (lengths[: len(same)] == 0).all()
        for start in np.flatnonzero(np.diff(lengths) == 0):
            assert row[start] < row[start + 1]
        assert len(np.unique(lengths)) == len(np.unique(which))


def test_nearest_flattens_feature_maps_and_takes_no_queries():
    maps = np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2)
    assert evaluate.nearest(maps, maps).indices.tolist() == [[0], [1], [2]]
    assert evaluate.nearest(maps, maps[:0], 2).indices.shape == (0, 2)


@pytest.mark.parametrize(
    "features, queries, k, words",
    [
        (np.zeros((3, 4)), np.zeros((2, 5)), 1, "queries: rows of 4"),
        (np.zeros((3, 4)), np.zeros((2, 4)), 4, "k: 1 to 3"),
        (np.zeros((3, 4)), np.zeros((2, 4)), 0, "k: 1 to 3"),
        (np.zeros(3), np.zeros((2, 4)), 1, "features: numbers"),
        (np.zeros((3, 4)), [["a"]], 1, "queries: numbers"),
        (np.full((3, 4), np.nan), np.zeros((2, 4)), 1, "features: finite"),
        (np.zeros((3, 4)), np.full((2, 4), np.inf), 1, "queries: finite"),
        (np.full((3, 4), 1e200), np.zeros((2, 4)), 1, "features: finite"),
    ],
)
def test_nearest_names_what_is_wrong(features, queries, k, words):
    with pytest.raises(ValueError, match=words):
        evaluate.nearest(features, queries, k)
