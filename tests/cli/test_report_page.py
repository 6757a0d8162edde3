"""`cnnkern bench --html`: one page that asks for nothing, every figure of it in the JSON, whatever names the document
bears; and what is completed, and where labels go, before it is drawn."""

from __future__ import annotations

import copy

import pytest
from benchdocs import HOSTILE, checked, document, engine, hostile, race, result

from cnnkern.measure import schema
from cnnkern.measure.older import completed
from cnnkern.report import series

# --- the page


def test_every_family_is_a_labelled_point(several):
    read = checked(document([result(several)]))
    points = [a for tag, a in read.elements if a.get("class") == "point"]
    assert len(points) == 2 * (len(several) - 1)  # wide and for phones; a layer without operations has no place
    assert all("GFLOP/s" in point["aria-label"] and point["data-x"] for point in points)
    assert "Without operations or time, and so not in the picture: flat" in read.text()
    classes = {a["class"].split()[1] for _, a in read.elements if a.get("class", "").startswith("mark f-")}
    assert len(classes) == len(series.FAMILIES)
    for layer in several:
        assert layer["name"] in read.text()


def test_several_instruction_sets_have_roofs_of_their_own(several):
    other = result(several, isa="vec128", peak_fma_gflops=33.0, bandwidths_gbs={"DRAM": 7.0})
    read = checked(document([result(several), other]))
    assert {"100.0", "33.0", "7.0", "390.0"} <= set(read.figures)
    assert "FMA peak 33 GFLOP/s" in read.text() and "FMA peak 100 GFLOP/s" in read.text()


def test_peers_and_who_is_missing_or_wrong(several):
    peers = [engine("fast", 0.75), engine("slow", 9.0), engine("gone", reason="not installed: gone")]
    peers.append(engine("bad", reason="wrong answer, by 2.0e-01 of the range", error=0.2))
    read = checked(document([result(several, race=race(*peers))]))
    assert "✗ not installed: gone" in read.text() and "✗ wrong answer, by 2.0e-01" in read.text()
    assert {"0.75", "9.0"} <= set(read.figures)
    assert "other processes took" in read.text() and "a noisy run" in read.text()
    assert "bar" in {a.get("class") for tag, a in read.elements if tag == "svg"}


def test_a_wrong_answer_has_no_times(layer):
    layers = [layer("conv", timed=False)]
    wrong = result(layers, correct=False, error=0.5, images_per_s=None, rate_gflops=None, faults=["conv: 1 fma more"])
    read = checked(document([wrong], good=False))
    assert "✗ WRONG" in read.text() and "wrong answer" in read.text() and "conv: 1 fma more" in read.text()
    assert "No roofline: there are no times." in read.text()
    assert "cnnkern bench: WRONG" in " ".join(read.inside["title"])
    assert "12.5" not in read.figures


def test_an_error_that_is_no_number(layer):
    assert "no number" in checked(document([result([layer("c")], correct=False, error=None)], good=False)).text()


def test_what_is_not_counted_says_so(layer):
    read = checked(document([result([layer("c", executed=None)], isa=None, counts_agree=None, limit_ms=None)]))
    assert "Executed: n/a" in read.text() and "not counted" in read.text()
    assert "No roofline: executed operations are not counted on this backend." in read.text()


def test_executed_as_theory_says(layer):
    read = checked(document([result([layer("c", fma=5_000, executed=5_000)])]))
    assert "Every layer executes exactly what theory says." in read.text()


@pytest.mark.parametrize("count", [0, 400])
def test_no_layers_and_many(layer, count):
    layers = [layer(f"stage{i}.block{i % 7}.conv_{i}", fma=10**6 + i) for i in range(count)]
    read = checked(document([result(layers)]))
    assert ("This network has no layers." in read.text()) is (count == 0)
    assert len([a for _, a in read.elements if a.get("class") == "point"]) == 2 * count


def test_nothing_was_measured():
    assert "Nothing was measured." in checked(document([])).text()


def test_extreme_figures_stay_in_the_picture(layer):
    tiny, huge = layer("tiny", fma=1, executed=1), layer("huge", fma=10**15, executed=10**15)
    checked(document([result([tiny, huge], race=race(engine("e", 1e-9), engine("f", 1e9)))]))
    checked(document([result([tiny], peak_fma_gflops=0.0, bandwidths_gbs={"DRAM": 0.0})]))


def test_hostile_names_are_words(several):
    peers = [engine("fast", 0.75, notes=["a note"]), engine("gone", reason="not installed")]
    made = hostile(document([result(several, race=race(*peers), faults=["f"], correct=False)], good=False))
    for found in (made["machine"], made["results"][0]):
        found["bandwidths_gbs"] = {HOSTILE: 3.0}
    made["command"] = HOSTILE
    read = checked(made)
    assert [a.get("type") for tag, a in read.elements if tag == "script"] == ["application/json", None]
    assert "b" not in {tag for tag, a in read.elements if "onclick" in a}
    shown = HOSTILE.replace("\x1b", "\ufffd").replace("\ud800", "\ufffd")
    assert shown in read.text()


def test_the_checks_see_what_they_look_for(several, monkeypatch):
    from cnnkern.report.html import tables

    made = document([result(several)])
    monkeypatch.setattr(tables, "rate", lambda value: tables.Markup("<b>"))
    with pytest.raises(AssertionError):
        checked(made)
    monkeypatch.undo()
    monkeypatch.setattr(tables, "exact", lambda value: "0.123")
    monkeypatch.setattr("cnnkern.report.html.markup.exact", lambda value: "0.123")
    with pytest.raises(AssertionError):
        checked(made)


# --- older documents


def test_an_older_document_is_completed(several):
    made = document([result(several)])
    before = copy.deepcopy(made)
    full = completed(made)
    assert made == before
    schema.validate(full)
    assert completed(full) == full
    first, given = full["results"][0]["layers"][0], several[0]
    assert first["bytes"] == given["theory"]["bytes_read"] + given["theory"]["bytes_written"]
    assert first["executed_flops"] == 1_800_000 and first["executed_of_theory"] == 0.9
    assert first["intensity"] == 1_800_000 / first["bytes"]
    assert first["executed_gflops"] == pytest.approx(1.8 / given["time_ms"])
    assert sum(layer["share_of_time"] for layer in full["results"][0]["layers"]) == pytest.approx(1)


@pytest.mark.parametrize(
    "change, place",
    [
        (lambda d: d.update(schema="cnnkern.race/1"), "cnnkern.race/1"),
        (lambda d: d["results"][0].pop("model"), "model"),
        (lambda d: d["results"][0]["layers"][0].pop("theory"), "theory"),
        (lambda d: d["results"][0].update(batch="1"), "batch"),
        (lambda d: d["machine"].update(caches={"l1d": "big"}), "caches.l1d"),
        (lambda d: d.update(results=3), "results|iterable|misplaces"),
    ],
)
def test_what_is_no_such_document_is_refused(several, change, place):
    made = document([result(several)])
    change(made)
    with pytest.raises(ValueError, match=place):
        completed(made)


# --- labels


def test_labels_never_overlap(rng):
    marks = [(*map(float, rng.uniform(0, 400, 2)), float(rng.uniform(2, 12))) for _ in range(80)]
    names = ["n" * int(n) for n in rng.integers(3, 30, 25)]
    bounds = (0.0, 0.0, 400.0, 400.0)
    placed = series.labels(marks, names, bounds, letter=6.0, height=14.0, taken=[(0.0, 0.0, 50.0, 50.0)])
    boxes = [(0.0, 0.0, 50.0, 50.0)]
    for label in placed:
        box = (label.x, label.y - 7, label.x + 6 * len(label.text), label.y + 7)
        assert label.text == names[label.index] and box[0] >= 0 and box[2] <= 400 and box[1] >= 0 and box[3] <= 400
        assert not any(series.overlap(box, other) for other in boxes)
        boxes.append(box)
    assert len(placed) > 3


@pytest.mark.parametrize("low, high", [(0.11, 130.0), (1e-9, 1e9), (4.0, 4.5), (90.0, 300.0)])
def test_ticks_are_few_and_inside(low, high):
    found = series.ticks(low, high)
    assert all(low <= tick <= high for tick in found) and found == sorted(set(found)) and len(found) <= 9


def test_the_axis_of_ratios_holds_them_all(several):
    found = result(several, race=race(engine("e", 0.2), engine("f", 3.0)))
    assert series.reach([found]) == 8.0
    assert series.reach([result(several)]) == 2.0
    assert [entry["engine"] for entry in series.raced(found)] == ["e", "f"]
