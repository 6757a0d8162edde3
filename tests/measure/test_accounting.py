from __future__ import annotations

from types import SimpleNamespace

import pytest

from cnnkern.errors import UnsupportedError
from cnnkern.measure.accounting import LayerAccount, ModelAccount, account
from cnnkern.ops.base import Counts

TEXTBOOK, RAN = Counts(fma=100), Counts(fma=90)


def layer(name="conv", theory=TEXTBOOK, predicted=RAN, executed=RAN, itemised=None):
    return LayerAccount(name, "f32_conv__avx2", theory, predicted, executed, itemised)


def test_equal_counts_that_are_itemised_agree():
    good = layer(itemised={"skipped taps": Counts(fma=12), "block padding": Counts(fma=-2)})
    assert good.agrees is True
    assert good.faults == []


@pytest.mark.parametrize("kind", ["fma", "mul", "add", "max", "special"])
def test_one_operation_of_any_kind_too_many_is_a_fault(kind):
    wrong = layer(predicted=Counts(fma=90), executed=Counts(fma=90) + Counts(**{kind: 1}))
    assert wrong.agrees is False
    assert kind in wrong.faults[0] and "conv" in wrong.faults[0]


def test_items_that_do_not_sum_up_are_a_fault():
    wrong = layer(itemised={"skipped taps": Counts(fma=9)})
    assert wrong.agrees is False
    assert "items sum to 9" in wrong.faults[0]


def test_an_empty_itemisation_claims_that_there_is_no_difference():
    assert layer(itemised={}).agrees is False
    assert layer(theory=Counts(fma=90), itemised={}).agrees is True


def test_executed_without_prediction_is_a_fault():
    assert layer(predicted=None).agrees is False


def test_bytes_count_only_where_they_are_predicted():
    assert layer(executed=Counts(fma=90, bytes_read=8)).agrees is True
    assert layer(predicted=Counts(fma=90, bytes_read=4), executed=Counts(fma=90, bytes_read=8)).agrees is False


def test_a_model_sums_its_layers_and_one_wrong_layer_makes_it_wrong():
    good = layer(itemised={"skipped taps": Counts(fma=10)})
    both = ModelAccount((good, layer("pool", itemised={"skipped taps": Counts(fma=10)})))
    assert both.theory.fma == 200 and both.executed.fma == 180
    assert both.itemised["skipped taps"].fma == 20
    assert both.agrees is True
    assert ModelAccount((good, layer(predicted=Counts(fma=91)))).agrees is False
    assert ModelAccount((good, layer(predicted=None, executed=None))).agrees is False, "a layer was left out"


def test_nothing_counted_is_no_verdict():
    nothing = ModelAccount((layer(predicted=None, executed=None),))
    assert nothing.agrees is None and nothing.executed is None


class Executable:
    def __init__(self, rows):
        self.rows = rows
        self.steps = [
            SimpleNamespace(name=name, kernel="k", theory=Counts(fma=5), predicted=None) for name in ("conv1", "conv2")
        ]

    def count(self, x):
        if self.rows is None:
            raise UnsupportedError("no counting here")
        return self.rows


def row(name, executed=5):
    return {"name": name, "kernel": "k", "predicted": Counts(fma=5), "executed": Counts(fma=executed), "itemised": {}}


def test_account_gives_every_count_to_its_layer():
    result = account(Executable([row("conv2"), row("conv1")]), None)
    assert [one.name for one in result.layers] == ["conv1", "conv2"]
    assert result.agrees is True


def test_account_of_a_backend_that_cannot_count_is_theory_alone():
    result = account(Executable(None), None)
    assert result.agrees is None and result.theory.fma == 10


def test_a_missing_layer_is_noticed():
    assert account(Executable([row("conv1")]), None).agrees is False


@pytest.mark.parametrize("names", [("conv1", "conv1"), ("conv1", "conv2", "conv3")])
def test_counts_nobody_can_place_are_an_error(names):
    with pytest.raises(RuntimeError, match="step"):
        account(Executable([row(name) for name in names]), None)
