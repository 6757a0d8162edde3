"""The shape files, the check of all operations, the benchmarks themselves: they run, and refuse wrong answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnnkern
from cnnkern import backends
from cnnkern.measure.opshapes import network_layers, read_lines
from cnnkern.ops.base import Counts

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
TREE = str(Path(cnnkern.__file__).resolve().parents[1])
native = pytest.mark.skipif(backends.available()["cpu"] != "", reason=f"no cpu backend: {backends.available()['cpu']}")


@pytest.fixture(scope="module")
def shapes(script):
    return script("make_shapes")


@pytest.fixture
def check(script):
    return script("flops_check")


def test_the_files_are_what_the_script_writes(shapes, tmp_path, monkeypatch, capsys):
    assert shapes.main(["--check"]) == 0
    monkeypatch.setattr(shapes, "FOLDER", tmp_path / "shapes")
    assert shapes.main(["--check"]) == 1 and "conv.txt" in capsys.readouterr().err
    assert shapes.main([]) == 0 and shapes.main(["--check"]) == 0


def test_every_line_is_a_layer_of_the_network_it_names(shapes):
    for path in (FOLDER / "shapes").glob("*.txt"):
        for problem in read_lines(path.read_text(), path.name):
            name, layer = problem.note.split(": ")[1].split()[:2]
            through = {"through": ()} if path.stem == "eltwise" else {}
            found = {item.first: item.problem.text for item in network_layers(name, **through)}
            assert found[layer] == problem.batched(1).text, (path.name, problem)


def test_every_kind_is_there(shapes):
    for name, kinds in shapes.FILES.items():
        for kind in kinds:
            assert len(shapes.chosen(kind, fused=name != "eltwise")) == kind.count, (name, kind.title)


def test_layers_of_a_network_can_be_printed(shapes, capsys):
    assert shapes.main(["lenet5"]) == 0
    assert len(read_lines(capsys.readouterr().out)) == len(network_layers("lenet5"))
    with pytest.raises(SystemExit):
        shapes.main(["lenet6"])


@native
def test_flops_check(check, capsys):
    assert check.main(["lenet5", "squeezenet1_1"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    isas = cnnkern.cpu_info()["isas"]
    assert len(lines) == 2 * len(isas) and all(line.startswith("ok") for line in lines)
    assert total.startswith(f"{2 * len(isas)} of {2 * len(isas)} agree")
    assert check.main(["lenet6"]) == 2 and check.main(["lenet5", "--isa", "mmx"]) == 2


@native
def test_flops_check_sees_a_miscount_and_what_was_not_counted(check, monkeypatch, capsys):
    from dataclasses import replace

    account = check.account
    for wrong in ({"executed": Counts(fma=1)}, {"executed": None}):

        def bent(executable, x, wrong=wrong):
            first, *rest = account(executable, x).layers
            return replace(account(executable, x), layers=(replace(first, **wrong), *rest))

        monkeypatch.setattr(check, "account", bent)
        assert check.main(["lenet5", "--isa", "vec128"]) == 1
        assert capsys.readouterr().out.startswith("WRONG lenet5")


def benchmarks(tmp_path, *argv: str) -> subprocess.CompletedProcess:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is an extra: pip install 'cnnkern[bench]'")
    command = [sys.executable, "-m", "pytest", str(FOLDER), "-q", "-p", "no:cacheprovider", *argv]
    paths = os.pathsep.join([str(tmp_path), TREE])
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "PYTHONPATH": paths})


@native
def test_benchmarks_say_more_than_a_time(tmp_path):
    file = tmp_path / "out.json"
    wanted = "(linear and 1x84) or conv_tile-1x16 or (test_model and lenet5)"
    done = benchmarks(tmp_path, "-k", wanted, "--benchmark-only", f"--benchmark-json={file}")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(file.read_text())["benchmarks"]
    assert {row["group"] for row in rows} == {"leaves", "models", "ops"}
    isas = {row["extra_info"]["isa"] for row in rows if row["group"] == "ops"}
    assert isas == set(cnnkern.cpu_info()["isas"])
    for row in rows:
        info = row["extra_info"]
        assert row["stats"]["median"] > 0 and info["error"] <= info["tolerance"]
        assert info["theory_flops"] > 0 and info["executed_flops"] > 0 and info["limit_ms"] > 0
        assert info["share_of_peak"] is None or info["share_of_peak"] > 0


@native
def test_a_wrong_answer_fails_and_gets_no_time(tmp_path):
    (tmp_path / "bender.py").write_text(
        "from cnnkern import testing\n"
        "right = testing.reference\n"
        "testing.reference = lambda *args, **options: right(*args, **options) + 0.01\n"
    )
    file = tmp_path / "out.json"
    done = benchmarks(tmp_path, "-p", "bender", "-k", "linear and 1x84 and vec128", f"--benchmark-json={file}")
    assert done.returncode == 1 and "1 failed" in done.stdout and "allowed" in done.stdout
    assert not file.exists() or not file.read_text() or json.loads(file.read_text())["benchmarks"] == []


def test_plain_pytest_does_not_collect_them():
    text = (FOLDER.parent / "pyproject.toml").read_text()
    assert 'testpaths = ["tests"]' in text
