from __future__ import annotations

import json

import numpy as np
import pytest

from cnnkern.measure import contract, schema

ROW = {"name": "resnet18", "parameters": 1, "macs": 2, "input_shape": (3, 224, 224)}


def test_a_document_names_its_schema_and_is_plain_json(tmp_path):
    made = schema.document("models", models=[{**ROW, "macs": np.int64(2)}])
    schema.write(made, str(tmp_path / "out.json"))
    back = json.loads((tmp_path / "out.json").read_text())
    assert back == made
    assert back["schema"] == "cnnkern.models/1"
    assert back["models"][0]["input_shape"] == [3, 224, 224]


def test_what_is_no_number_becomes_null():
    error = {"index": 0, "name": None, "probability": 0.5, "note": float("nan")}
    made = schema.document("run", model="m", image="i", weights="w", backend="b", top=[error])
    assert made["top"][0]["note"] is None


@pytest.mark.parametrize(
    "change, place",
    [
        ({"macs": "2"}, r"models\[0\].macs"),
        ({"macs": True}, r"models\[0\].macs"),
        ({"input_shape": 3}, r"models\[0\].input_shape"),
        ({"input_shape": ["a"]}, r"models\[0\].input_shape\[0\]"),
    ],
)
def test_the_wrong_kind_of_value_is_refused_by_place(change, place):
    with pytest.raises(ValueError, match=place):
        schema.document("models", models=[{**ROW, **change}])


def test_a_missing_key_is_refused():
    with pytest.raises(ValueError, match="'models' is missing"):
        schema.document("models")


@pytest.mark.parametrize("name", ["", "cnnkern.nothing/1", "cnnkern.models/2", "models"])
def test_an_unknown_schema_is_refused(name):
    with pytest.raises(ValueError, match="schema"):
        schema.validate({"schema": name})


def test_optional_objects_are_checked_where_present():
    schema._check(None, contract.COUNTS_OR_NULL, "x")
    with pytest.raises(ValueError, match="'fma' is missing"):
        schema._check({}, contract.COUNTS_OR_NULL, "x")
    with pytest.raises(ValueError, match="x"):
        schema._check(3, contract.COUNTS_OR_NULL, "x")
