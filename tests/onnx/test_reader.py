"""Reading ONNX files: what they declare, weights in other files, and words for what cannot be read."""

from __future__ import annotations

import os

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

from graphs import anything, conv_relu, model, node, port  # noqa: E402  beside this file
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from cnnkern import ModelError  # noqa: E402
from cnnkern.onnx import load, reader  # noqa: E402

X = port("x", (2, 3))


def read(proto: onnx.ModelProto) -> reader.Source:
    return reader.read(proto)[0]


def refused(proto: onnx.ModelProto, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read(proto)


def test_what_a_model_declares():
    proto = conv_relu(("N", 3, None, "W"))
    proto.producer_name, proto.domain, proto.doc_string, proto.model_version = "by hand", "ours", "a test", 7
    helper.set_model_props(proto, {"author": "nobody"})
    m = load(proto)
    assert m.inputs == [reader.Port("x", "float32", ("N", 3, None, "W"))]
    assert m.outputs == [reader.Port("y", "float32", ("N", 4))]
    assert (m.opset, m.name, m.batch) == (17, "by_hand", None)
    assert m.metadata == {
        "producer_name": "by hand",
        "graph_name": "by_hand",
        "domain": "ours",
        "description": "a test",
        "graph_description": "",
        "version": 7,
        "custom_metadata_map": {"author": "nobody"},
    }


def test_ports_of_every_kind():
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    nodes = [node("SequenceAt", "s i", "y"), node("Identity", "t", "u")]
    source = read(model(nodes, [sequence, port("i", (), "int64"), port("t", None, object)], ["y", "u"]))
    assert [(p.name, p.dtype, p.shape, p.is_tensor) for p in source.inputs] == [
        ("s", "seq(tensor(float))", None, False),
        ("i", "int64", (), True),
        ("t", "object", None, True),
    ]


def test_nodes_come_in_an_order_in_which_they_can_run_and_what_nobody_needs_is_left_out():
    nodes = [node("Relu", "a", "y"), node("Exp", "x", "unused"), node("Neg", "x", "a")]
    assert [n.op for n in read(model(nodes, [X], ["y"])).nodes] == ["Neg", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Neg", "b", "a"), node("Neg", "a", "b"), node("Add", "x a", "y")], "cycle"),
        (
            [node("Neg", "x", "a"), node("Exp", "x", "a"), node("Neg", "a", "y")],
            r"Exp_of_a.*'a' is already made by .*Neg",
        ),
        ([node("Neg", "x", "x"), node("Neg", "x", "y")], "'x' is already made by an input"),
        ([node("Neg", "nothing", "y")], r"node 'Neg_of_y' \(Neg\): its input 'nothing' is made by no node"),
        ([node("Neg", "x", "z")], "graph output 'y' is made by no node"),
        ([node("Frobnicate", "x", "y")], "ai.onnx has no operation 'Frobnicate' at opset 17"),
        ([node("Neg", "x", "y", domain="com.example")], "imports no opset of its domain 'com.example'"),
        ([node("Upsample", "x", "y", scales=[1.0, 1.0])], "deprecated"),
        ([node("Neg", "x x", "y")], "Neg_of_y"),
        ([node("Relu", "x", "y", alpha=1.0)], "alpha"),
    ],
)
def test_nodes_that_cannot_be(nodes, words):
    refused(model(nodes, [X], ["y"]), words)


def test_control_flow_is_refused_by_name():
    body = helper.make_graph([], "body", [port("i", (), "int64"), port("c", (), "bool")], [port("c", (), "bool")])
    loop = node("Loop", "n c", "y", name="the_loop", body=body)
    refused(
        model([loop], [port("n", (), "int64"), port("c", (), "bool")], ["y"]), r"node 'the_loop' \(Loop\): control flow"
    )


def test_opsets():
    newest = onnx.defs.onnx_opset_version()
    assert read(model([node("Relu", "x", "y")], [X], ["y"], opset=newest)).opset == newest
    assert read(model([node("Relu", "x", "y")], [X], ["y"], opset=6)).opset == 7  # converted
    for opset in (0, -3, newest + 1):
        refused(model([node("Relu", "x", "y")], [X], ["y"], opset=opset), f"opset is {opset}; 1 to {newest} are read")


def test_files_that_are_no_models(tmp_path):
    data = conv_relu().SerializeToString()
    for broken in (b"", b"\x00" * 100, b"not a model at all", data[: len(data) // 2]):
        with pytest.raises(ModelError, match="the model: "):
            load(broken)
    path = tmp_path / "broken.onnx"
    path.write_bytes(data[:50])
    with pytest.raises(ModelError, match=r"broken\.onnx: "):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.onnx")
    with pytest.raises(TypeError, match="source: a path, bytes or an onnx.ModelProto is accepted, got int"):
        load(3)


def weight(**changes) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    for name, value in changes.items():
        if isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (weight(dims=[2, 4]), "needs 32 bytes, the file has 24"),
        (weight(dims=[1 << 40, 1 << 20]), "needs .* bytes, the file has 24"),
        (weight(dims=[1 << 62, 1 << 62, 0]), "too large for any machine"),
        (weight(dims=[-2, -3]), "negative dimension"),
        (weight(data_type=99), "element type 99"),
        (weight(data_type=TensorProto.STRING), "strings as raw bytes"),
        (
            TensorProto(name="w", dims=[3], data_type=TensorProto.FLOAT, float_data=[1.0]),
            "needs 3 values, the file has 1",
        ),
    ],
)
def test_tensors_that_are_not_what_they_say(tensor, words):
    proto = model([node("Add", "x w", "y")], [X], ["y"])
    proto.graph.initializer.append(tensor)
    refused(proto, f"initialiser 'w'.*{words}")


def test_tensors_of_every_type():
    rng = np.random.default_rng(1)
    for name in (
        "FLOAT",
        "FLOAT16",
        "BFLOAT16",
        "DOUBLE",
        "INT4",
        "UINT4",
        "INT8",
        "INT64",
        "UINT16",
        "BOOL",
        "COMPLEX64",
    ):
        kind = getattr(TensorProto, name)
        values = rng.integers(0, 2, 7)
        for raw in (False, True):
            dtype = helper.tensor_dtype_to_np_dtype(kind)
            given = (
                numpy_helper.from_array(values.astype(dtype), "t")
                if raw
                else helper.make_tensor("t", kind, [7], values)
            )
            found = reader.tensor(given, "here")
            assert (found.dtype, found.shape, found.flags.writeable) == (dtype, (7,), False)
            np.testing.assert_array_equal(found.astype(np.complex128).real, values)


def test_sparse_initialisers_get_their_zeros():
    values = numpy_helper.from_array(np.array([2.0, 3.0], np.float32), "w")
    proto = model([node("Add", "x w", "y")], [X], ["y"])
    at = numpy_helper.from_array(np.array([1, 5]), "at")
    proto.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=at, dims=[2, 3]))
    (y,) = load(proto).run({"x": np.zeros((2, 3), np.float32)}, backend="reference")
    np.testing.assert_array_equal(y, [[0, 2, 0], [0, 0, 3]])
    proto.graph.sparse_initializer[0].dims[:] = [1 << 20, 1 << 20]
    refused(proto, "initialiser 'w' of shape .* would take more than")
    proto.graph.sparse_initializer[0].dims[:] = [2, 2]
    refused(proto, "an index lies outside")


# --- weights in other files


def beside(tmp_path, location: str = "weights.bin", offset: str = "16", length: str = "24", data: bytes | None = None):
    """A model in a folder whose weight says it lies there."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    values = np.arange(6, dtype=np.float32)
    (folder / "weights.bin").write_bytes(b"\x00" * 16 + values.tobytes() if data is None else data)
    tensor = TensorProto(name="w", dims=[2, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    proto = model([node("Add", "x w", "y")], [X], ["y"])
    proto.graph.initializer.append(tensor)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def test_weights_in_another_file(tmp_path):
    path = beside(tmp_path)
    (y,) = load(path).run({"x": np.zeros((2, 3), np.float32)}, backend="reference")
    np.testing.assert_array_equal(y, [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(ModelError, match="'weights.bin': load the model by its path, not as bytes"):
        load(path.read_bytes())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"location": "/etc/passwd"}, "a path inside the model's folder is accepted"),
        ({"location": "../secret"}, "leaves the model's folder"),
        ({"location": "sub/../../secret"}, "leaves the model's folder"),
        ({"location": "C:\\secret"}, "a path inside the model's folder is accepted"),
        ({"location": ""}, "a path inside the model's folder is accepted"),
        ({"location": "absent.bin"}, "there is no file 'absent.bin'"),
        ({"location": "."}, "there is no file"),
        ({"offset": "17"}, "lies at bytes 17 to 41 of 'weights.bin', which has 40"),
        ({"offset": "-1"}, "its offset is '-1'"),
        ({"length": "23"}, "needs 24 bytes, its length says 23"),
        ({"length": "9" * 30}, "its length is"),
        ({"data": b""}, "which has 0"),
    ],
)
def test_weights_that_cannot_lie_there(tmp_path, changes, words):
    (tmp_path / "secret").write_bytes(b"\x00" * 64)
    path = beside(tmp_path, **changes)
    with pytest.raises(ModelError, match=words):
        load(path)


def test_links_do_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "secret").write_bytes(b"\x00" * 64)
    path = beside(tmp_path, location="link")
    os.symlink(tmp_path / "secret", path.parent / "link")
    with pytest.raises(ModelError, match="a link that leaves the model's folder"):
        load(path)
    (path.parent / "link").unlink()
    os.symlink(path.parent / "weights.bin", path.parent / "link")  # one within is good
    load(path)


# --- functions of a model's own


def test_functions_stand_where_they_are_called():
    double = helper.make_function(
        "ours", "Double", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
    )
    calls = [node("Double", "x", "h", domain="ours"), node("Double", "h", "y", domain="ours")]
    proto = model(calls, [X], ["y"], functions=[double], domains={"ours": 1})
    (y,) = load(proto).run({"x": np.ones((2, 3), np.float32)}, backend="reference")
    np.testing.assert_array_equal(y, np.full((2, 3), 4))


def test_functions_that_call_themselves_or_too_many():
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]

    def function(name: str, called: str) -> onnx.FunctionProto:
        body = [node(called, "a", "h", domain="ours"), node(called, "h", "b", domain="ours")]
        return helper.make_function("ours", name, ["a"], ["b"], body, imports)

    first = [node("F0", "x", "y", domain="ours")]
    refused(
        model(first, [X], ["y"], functions=[function("F0", "F0")], domains={"ours": 1}), "'F0' of 'ours' calls itself"
    )
    chain = [function(f"F{i}", f"F{i + 1}") for i in range(40)]
    last = helper.make_function("ours", "F40", ["a"], ["b"], [node("Neg", "a", "b")], imports)
    refused(model(first, [X], ["y"], functions=[*chain, last], domains={"ours": 1}), "call each other .* times")


def test_names_that_are_there_twice():
    refused(model([node("Neg", "x", "y")], [X, X], ["y"]), "graph input 'x' is there twice")
    proto = model([node("Add", "x w", "y")], [X], ["y"], {"w": np.ones(3, np.float32)})
    proto.graph.initializer.append(proto.graph.initializer[0])
    refused(proto, "initialiser 'w' is there twice")
    refused(
        model([node("Neg", "x", "y")], [port("x", (-1, 3))], ["y"]), "graph input 'x' has the negative dimension -1"
    )
    assert anything("y").name == "y"
