"""`cnnkern bench --html --png --show`: the command, and the plots alone. test_report_page.py reads the page."""

from __future__ import annotations

import json
import sys

import pytest
from benchdocs import Page, checked, document, engine, hostile, race, result
from PIL import Image

from cnnkern.measure.older import completed

ON_REFERENCE = ("--backend", "reference", "--threads", "1")
PLOTS = ("roofline", "layers", "operations", "ratios")

# --- the command


def test_html_of_a_run(cnnkern, cpu, tmp_path):
    cpu()
    file, data = tmp_path / "r.html", tmp_path / "r.json"
    argv = ("bench", "lenet5", "--batch", "1,2", "--seconds", 0.01, "--html", file, "--json", data)
    done = cnnkern(*argv)
    assert done.code == 0 and f"wrote {file}" in done.out
    made = json.loads(data.read_text())
    assert made["command"].endswith(" ".join(map(str, argv))) and made["date"]
    read = checked(made)
    assert Page(file.read_text(encoding="utf-8")).document() == made == read.document()
    assert made["results"][0]["layers"][0]["intensity"] > 0 and made["results"][0]["bandwidths_gbs"]
    assert "cpu (avx2)" in read.text()


def test_show_measures_nothing(cnnkern, tmp_path, monkeypatch):
    data, file = tmp_path / "r.json", tmp_path / "r.html"
    assert cnnkern("bench", "lenet5", "--seconds", 0.01, *ON_REFERENCE, "--json", data).code == 0
    monkeypatch.setattr("cnnkern.measure.network.bench_network", None)
    done = cnnkern("bench", "--show", data, "--html", file)
    assert done.code == 0 and "lenet5" in done.out and file.exists()
    assert cnnkern("bench", "--show", data, "--json", "-").json == json.loads(data.read_text())
    assert max(map(len, cnnkern("bench", "--show", data).out.splitlines())) <= 120


def test_show_of_a_bad_run_fails(cnnkern, several, tmp_path):
    data = tmp_path / "r.json"
    data.write_text(json.dumps(document([result(several, correct=False, race=race(engine("e", 2.0)))], good=False)))
    done = cnnkern("bench", "--show", data)
    assert done.code == 1 and "WRONG" in done.out and "best peer fast" in done.out


@pytest.fixture
def nothing_runs(monkeypatch):
    def measured(*_, **__):
        raise AssertionError("something was measured")

    monkeypatch.setattr("cnnkern.measure.pictures.Course", measured)
    monkeypatch.setattr("cnnkern.measure.peak.fma_gflops", measured)


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--html", "{}/none/r.html"], "there is no folder"),
        (["--html", "{}"], "is a folder"),
        (["--html", "-"], "takes the name of a file"),
        (["--json", "{}/none/r.json"], "there is no folder"),
        (["--png", "{}/none/plots"], "there is no folder"),
        (["--png", "{}/file"], "is a file"),
        (["--html", "{}/r.html", "--ops"], "not with --ops"),
        (["--compare", "a", "b", "--html", "{}/r.html"], "not with --ops or --compare"),
        (["--show", "{}/file", "lenet5"], "measures nothing"),
        (["--show", "{}/file"], "not a JSON document"),
        (["--show", "{}/nan.json"], "NaN"),
        (["--show", "{}/list.json"], "its schema is None"),
        (["--show", "{}/none.json"], "No such file"),
    ],
)
def test_outputs_are_looked_at_first(cnnkern, nothing_runs, tmp_path, argv, words):
    (tmp_path / "file").write_text("text")
    (tmp_path / "nan.json").write_text("[NaN]")
    (tmp_path / "list.json").write_text("[]")
    before = sorted(tmp_path.iterdir())
    done = cnnkern("bench", *(word.format(tmp_path) for word in argv))
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "file").read_text() == "text"


def test_without_matplotlib_the_extra_is_named_first(cnnkern, nothing_runs, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = cnnkern("bench", "lenet5", "--png", tmp_path)
    assert done.code == 2 and "pip install 'cnnkern[bench]'" in done.err and done.err.count("\n") == 1


# --- the plots alone


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib", reason="matplotlib is an extra: pip install 'cnnkern[bench]'")


def test_png_is_a_file_per_plot_and_network(cnnkern, matplotlib, several, tmp_path):
    peers = race(engine("fast", 0.75), engine("gone", reason="not installed"))
    made = document([result(several, race=peers), result(several, isa="vec128"), result(several)])
    (tmp_path / "r.json").write_text(json.dumps(made))
    assert cnnkern("bench", "--show", tmp_path / "r.json", "--png", tmp_path / "plots").code == 0
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {
        *(f"lenet5-b1-avx2-t2-{plot}.png" for plot in PLOTS),
        *(f"lenet5-b1-vec128-t2-{plot}.png" for plot in PLOTS[:3]),
        *(f"lenet5-b1-avx2-t2-2-{plot}.png" for plot in PLOTS[:3]),
    }
    for name in names:
        picture = Image.open(tmp_path / "plots" / name).convert("RGB")
        assert picture.getpixel((2, 2)) == (255, 255, 255) and len(set(picture.getcolors(1 << 20))) > 50


@pytest.mark.filterwarnings("ignore:Glyph")
def test_png_of_hostile_names_and_of_what_is_missing(matplotlib, layer, several, tmp_path):
    from cnnkern.report import plots

    wrong = result([layer("c", timed=False)], correct=False)
    uncounted = result([layer("c", executed=None)], isa=None)
    made = hostile(document([result(several, race=race(engine("e", 2.0))), wrong, uncounted, result([])]))
    written = plots.save(completed(made), tmp_path)
    assert {path.parent for path in written} == {tmp_path} and all(path.stat().st_size > 5000 for path in written)
    assert [path.name.rpartition("-")[2] for path in written] == [
        "roofline.png", "layers.png", "operations.png", "ratios.png", "operations.png", "layers.png",
    ]  # fmt: skip


def test_many_layers_stay_few_bars(matplotlib, layer):
    from cnnkern.report import plots

    found = result([layer(f"a.very.long.name.of.a.layer.{i}", fma=10**6 + i) for i in range(400)])
    [made] = completed(document([found]))["results"]
    for draw in (plots.layers, plots.operations):
        assert len(draw(made).axes[0].get_yticklabels()) == plots.BARS
