"""Networks with several inputs: images and regions of them."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from engines import engines
from opcases import regions

import cnnkern
from cnnkern import ModelError, models, ops, testing
from cnnkern.graph.builder import GraphBuilder
from cnnkern.measure import accuracy
from cnnkern.measure.accounting import account
from cnnkern.measure.pictures import BOXES, Course, inputs
from cnnkern.model import Model

SHAPE = (3, 17, 21)
SHAPES = ((2, *SHAPE), (5, 5))
POOL = ops.RoiMaxPoolSpec((3, 2), 0.5)


def detector(**options) -> Model:
    """A convolution, regions of its map, scores and boxes."""

    def build(shape):
        g = GraphBuilder("detector")
        x = g.relu(g.conv(g.input(shape), "conv", 19, 3, 2, 1), "relu")
        x = g.flatten(g.roi_max_pool(x, g.regions(), POOL.output_size, POOL.spatial_scale, "pool"), name="flat")
        return g.finish([g.softmax(g.linear(x, "score", 4), "prob"), g.linear(x, "box", 16)])

    return Model(build(SHAPE), rebuild=build, **options)


@pytest.fixture
def x(rng):
    return rng.standard_normal((2, *SHAPE), np.float32), regions(rng, POOL, (2, 19, 9, 11), 5)


@pytest.fixture(params=engines())
def engine(request):
    return request.param


def test_inputs_by_position_and_by_name(engine, x):
    m = detector()
    assert m.input_shape == SHAPE and m.input_shapes == {"input": ("N", *SHAPE), "rois": ("R", 5)}
    scores, boxes = m(x, backend=engine)
    assert scores.shape == (5, 4) and boxes.shape == (5, 16)
    again = m({"rois": x[1], "input": x[0]}, backend=engine)
    assert np.array_equal(scores, again[0]) and np.array_equal(boxes, again[1])
    weight, pool = m.weights, testing.reference(POOL, m.features(x, "relu", backend="reference")["relu"], x[1])
    expected = pool.reshape(5, -1) @ weight["box.weight"].T + weight["box.bias"]
    assert np.abs(boxes - expected).max() < 1e-5 * np.ptp(expected)


def test_features_on_both_sides_of_the_regions(x):
    taps = detector().features(x, ["relu", "pool", "box"])
    assert [taps[name].shape for name in taps] == [(2, 19, 9, 11), (5, 19, 3, 2), (5, 16)]


def test_shapes_of_all_inputs(x):
    m = detector()
    shapes = {"rois": (5, 5), "input": (2, *SHAPE)}
    for given in (SHAPES, [list(shape) for shape in SHAPES], shapes):
        exe = m.compile(given)
        assert [value.shape for value in exe.plan.inputs] == list(SHAPES)
        assert all(np.array_equal(a, b) for a, b in zip(exe(x), m(x)))
    assert [value.shape for value in m.compile().plan.inputs] == [(1, *SHAPE), (1, 5)]
    assert m.compile(((0, *SHAPE), (0, 5)))((x[0][:0], x[1][:0]))[0].shape == (0, 4)


def test_no_regions(engine, x):
    assert [y.shape for y in detector()((x[0], x[1][:0]), backend=engine)] == [(0, 4), (0, 16)]


def test_other_image_sizes(engine, x):
    m, image = detector(), x[0][:, :, :9, :13]
    mine, theirs = m((image, x[1]), backend=engine), m((image, x[1]), backend="reference")
    assert np.abs(mine[1] - theirs[1]).max() < 1e-5 * np.ptp(theirs[1])


IMAGE, ROIS = np.zeros((2, *SHAPE), np.float32), np.zeros((5, 5), np.float32)
WRONG_REGION = np.array([[0] * 5, [2, 0, 0, 1, 1]], np.float32)
BAD = {
    "one array": (lambda m: m(IMAGE), TypeError, r"x: 2 arrays \(input, rois\).*ndarray"),
    "one of two": (lambda m: m((IMAGE,)), ValueError, r"x: 2 arrays \(input, rois\).*got 1"),
    "other names": (lambda m: m({"image": IMAGE, "rois": ROIS}), ValueError, "input, rois are accepted, got image"),
    "four columns": (lambda m: m((IMAGE, ROIS[:, :4])), ValueError, r"rois of shape \('R', 5\), got \(5, 4\)"),
    "rank": (lambda m: m((IMAGE, ROIS[0])), ValueError, r"x\['rois'\] must have rank 2"),
    "dtype": (lambda m: m((IMAGE, ROIS.astype(int))), TypeError, r"x\['rois'\].*float32, got int64"),
    "no such image": (lambda m: m((IMAGE, WRONG_REGION)), ValueError, r"rois.*0 to 1.*rois\[1\]"),
    "one shape": (lambda m: m.compile((1, *SHAPE)), ValueError, r"input_shape: 2 shapes \(input, rois\).*got 4"),
    "two numbers": (lambda m: m.compile((300, 5)), TypeError, r"input_shape\['input'\] must be a shape.*300"),
    "columns": (lambda m: m.compile(((1, *SHAPE), (9, 4))), ValueError, r"rois of shape \('R', 5\), got \(9, 4\)"),
    "rank of a shape": (lambda m: m.compile(((1, *SHAPE), (9,))), ValueError, r"rois of shape \('R', 5\), got \(9,\)"),
    "half a region": (lambda m: m.compile(((1, *SHAPE), (0.5, 5))), TypeError, r"input_shape\['rois'\]\[0\].*0.5"),
    "name of a shape": (lambda m: m.compile({"input": (1, *SHAPE)}), ValueError, "shapes named input, rois"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named(what):
    call, exception, words = BAD[what]
    with pytest.raises(exception, match=f"(?s){words}"):
        call(detector())


@pytest.mark.parametrize("row", [[2, 0, 0, 1, 1], [-1, 0, 0, 1, 1], [0.5, 0, 0, 1, 1], [0, np.nan, 0, 1, 1],
                                 [0, 0, 0, np.inf, 1], [np.nan, 0, 0, 1, 1]])  # fmt: skip
def test_an_executable_checks_regions_before_anything_runs(engine, x, row):
    exe, out = detector().compile(SHAPES, backend=engine), [np.full((5, n), 7, np.float32) for n in (4, 16)]
    x[1][3] = row
    for call in (lambda: exe(x, out=out), lambda: exe.known(x), lambda: exe.profile(x)):
        with pytest.raises(ValueError, match=r"rois\[3\]"):
            call()
    assert all((y == 7).all() for y in out)


def test_regions_that_the_graph_computes_are_checked_on_the_way(engine, rng):
    g = GraphBuilder("shifted")
    image = g.input((4, 6, 6))
    pooled = g.roi_max_pool(image, g.add(g.regions(), g.regions("offsets"), "sum"), 2, 1.0, "pool")
    m = Model(g.finish(pooled))
    image, rois = rng.standard_normal((2, 4, 6, 6), np.float32), np.array([[0, 0, 0, 3, 3]] * 2, np.float32)
    shift = np.array([[0, 1, 1, 2, 2], [1, 0, 0, 0, 0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the reference does it, and says so once
        y = m((image, rois, shift), backend=engine)
        assert np.array_equal(y, cnnkern.roi_max_pool(image, rois + shift, 2, 1.0, backend="reference"))
        with pytest.raises(ValueError, match=r"roi_max_pool: rois.*0 to 1"):
            m((image, rois, shift + 9), backend=engine)


@pytest.mark.parametrize("engine", engines(native_only=True), indirect=True)
def test_the_prediction_follows_the_regions(engine, x):
    """Predicted from these regions and executed on them; other regions, other operations. Numba counts nothing."""
    exe = detector().compile(SHAPES, backend=engine)
    if engine.name == "numba":
        assert account(exe, x).agrees is None
        return
    (planned,) = [step for step in exe.steps if step.name == "pool"]
    assert planned.predicted is None and planned.theory.flops == 0
    whole = np.array([[0, 0, 0, 20, 16]] * 5, np.float32)
    found = []
    for rois in (x[1], whole):
        made = account(exe, (x[0], rois))
        assert made.agrees and made.predicted == made.executed, made.faults
        found.append(next(layer for layer in made.layers if layer.name == "pool"))
    assert found[0].executed.max != found[1].executed.max > 0
    if engine.name == "cpu":
        assert set(found[1].itemised) == {"regions", "block padding"}  # 19 channels


def test_weights_tell_regions_apart(x):
    g = detector().graph
    m = models.create("fast_rcnn_vgg16", input_shape=(3, 64, 96))
    scores, boxes = m(inputs("fast_rcnn_vgg16", m, 2))
    assert accuracy.variation(scores) > 0.01 and 0.1 < np.ptp(boxes) < 100
    assert g.shape("prob") == ("R", 4)


def test_both_symbols_are_bound():
    g = detector().graph
    assert g.bind(3).shape("conv") == (3, 19, 9, 11) and g.bind(3).shape("prob") == (3, 4)
    bound = g.bind({"N": 2, "R": 7})
    assert bound.shape("relu") == (2, 19, 9, 11) and bound.shape("prob") == (7, 4)
    open_ = g.bind({"N": 2})
    assert open_.shape("relu") == (2, 19, 9, 11) and open_.shape("prob") == ("R", 4)


def test_concurrent_callers(x):
    exe = detector().compile(SHAPES, backend="cpu")
    turns = [(x[0], np.roll(x[1], i, 0)) for i in range(4)]
    wanted, got = [exe(turn)[1] for turn in turns], [None] * 4

    def call(i):
        got[i] = exe(turns[i])[1]

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(wanted, got))


def test_photographs_come_with_regions():
    """The first regions are the same part of every picture; answers follow the pictures."""
    m = detector()
    image, rois = inputs("detector", m, 2)
    assert image.shape == (2, *SHAPE) and rois.shape == (2 * len(BOXES), 5)
    assert rois[0].tolist() == [0, 0, 0, 20, 16] and rois[1].tolist() == [1, 0, 0, 20, 16]
    course = Course("detector", m)
    assert course.varies > 0.01
    for batch, first in ((1, 0), (1, 1), (3, 1)):
        mine = m(course.pictures(batch, first), backend="reference")[0]
        assert np.abs(mine - course.answers(batch, first)).max() < 1e-5


# --- fast_rcnn_vgg16


def test_fast_rcnn_takes_any_size_from_32_pixels():
    for size in ((32, 32), (47, 95)):
        graph = models.get("fast_rcnn_vgg16").graph(input_shape=(3, *size))
        assert graph.params == models.get("fast_rcnn_vgg16").graph().params
        assert graph.shape("roi_pool5") == ("R", 512, 7, 7)


def test_fast_rcnn_without_its_top_is_vgg16_to_conv5_3(rng):
    vgg = models.create("vgg16", include_top=False, input_shape=(3, 32, 48), seed=3)
    trunk = models.create("fast_rcnn_vgg16", include_top=False, input_shape=(3, 32, 48))
    assert list(trunk.input_shapes) == ["input"]
    assert not trunk.load_state_dict(vgg.state_dict())
    x = rng.standard_normal((2, 3, 32, 48), np.float32)
    theirs = vgg.features(x, "features.29")["features.29"]
    assert trunk(x).shape == (2, 512, 2, 3) and np.array_equal(trunk(x), theirs)


def test_fast_rcnn_takes_vgg16s_weights_but_for_its_own_layers():
    m, vgg = models.create("fast_rcnn_vgg16"), models.create("vgg16", seed=3).state_dict()
    with pytest.raises(ModelError, match="cls_score.weight"):
        m.load_state_dict(vgg)
    mismatch = m.load_state_dict(vgg, strict=False)
    assert {name.partition(".")[0] for name in mismatch.missing} == {"cls_score", "bbox_pred"}
    assert not mismatch.unexpected and np.array_equal(m.weights["fc6.weight"], vgg["classifier.0.weight"])
