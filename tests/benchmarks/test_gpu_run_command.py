"""benchmarks/gpu_run.py as a command: its usage, a whole run of it, and that the table it ends with stays short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import host
import pytest
from gpurun import SCRIPT, on_the_shim, valid

from cnnkern import backends


def test_without_a_gpu_it_says_why(tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no GPU was run: ") and done.stdout.count("\n") == 1 and not done.stderr
    if backends.available()["cuda"]:
        assert backends.available()["cuda"] in done.stdout
    assert not list(tmp_path.iterdir())


def test_it_needs_no_native_module(tmp_path):
    """Python refuses to import cnnkern._core: the whole of it still imports, from any folder."""
    code = f"""
        import sys
        sys.modules["cnnkern._core"] = None
        sys.argv = ["gpu_run.py"]
        sys.path.insert(0, {str(SCRIPT.parent)!r})
        import gpu_run
        for name in gpu_run.STAGES:
            assert gpu_run.module(name).items
        print("torch" in sys.modules, "cupy" in sys.modules, gpu_run.backends.available()["cpu"] != "")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "False", "True"], done.stdout + done.stderr


@pytest.mark.parametrize("argv", [["--out"], ["--out", "x", "--only", "nothing"], ["--out", "x", "--minutes", "0"]])
def test_bad_usage(gpu_run, argv):
    with pytest.raises(SystemExit) as ended:
        gpu_run.main(argv)
    assert ended.value.code == 2


def test_stages_run_in_order(gpu_run):
    assert gpu_run.arguments(["--out", "x", "--only", "nets,info"]).only == ["info", "nets"]


STAGE_ON_THE_SHIM = """
import contextlib, sys, time
sys.path[:0] = {paths!r}
sys.argv = ["gpu_run.py"]
import gpu_run
from pathlib import Path
from hostruntime import HostArray, HostRuntime
from gpu import harness
from gpu.place import Extent, Place
from gpu.torch_peer import NoPeer
runtime, work = HostRuntime(order=0), Path({work!r})
place = Place(runtime, runtime.array, HostArray.get, contextlib.nullcontext, 1 << 10,
              lambda: NoPeer("no PyTorch", runtime.array, HostArray.get), Path({out!r}), work,
              Extent(seeds=(1,), per_op=1, labels=("add", "softmax"), larger=0, checked_nets=()))
good = gpu_run.perform(place, {name!r}, harness.Journal(work / "{name}.jsonl"), time.monotonic() + {seconds})
sys.exit(0 if good else 1)
"""


@on_the_shim
def test_a_whole_run(gpu_run, tmp_path, monkeypatch, capsys):
    """From the command to the files, with stages that have a process each and the shim for a device."""
    here = Path(host.__file__).resolve().parent

    def command(asked, work, name, seconds):
        paths = [str(SCRIPT.parent), str(here), str(SCRIPT.parents[1])]
        code = STAGE_ON_THE_SHIM.format(paths=paths, work=str(work), out=str(asked.out), name=name, seconds=seconds)
        return [sys.executable, "-c", code]

    monkeypatch.setattr(gpu_run, "stage_command", command)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):  # the run sets them where they are not
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(gpu_run.backends, "available", lambda: {"cuda": ""})
    out = tmp_path / "out"
    assert gpu_run.main(["--out", str(out), "--minutes", "2", "--only", "correctness,profile"]) == 0
    document = valid(json.loads((out / "gpu.json").read_text()))
    assert [s["name"] for s in document["stages"]] == ["correctness", "profile"]
    assert document["stages"][0]["outcome"] == "all of it" and document["convs"] is None
    assert {row["what"] for row in document["correctness"]["rows"]} == {"add", "softmax"}
    assert all(row["good"] for row in document["correctness"]["rows"])
    printed = capsys.readouterr().out
    assert printed.startswith("[") and "correct float32" in printed and len(printed) < 12_000
    assert {f.name for f in out.iterdir()} == {"gpu.json", "gpu.txt", "log.txt"}


def test_the_essence_stays_short(gpu_run, parts):
    """However much there is to say."""
    row = {
        "problem": "conv2d " + "x" * 80, "precision": "float16", "batch": 1, "layers": {}, "depthwise": False,
        "theory_gflop": 1.0, "tflops": None, "cudnn_us": 1.0, "cudnn_minimum_us": 1.0, "ratio": None, "left_out": "",
        "candidates": [], "best_us": None, "error": 0.0, "tolerance": 1.0, "kernel": "k" * 40, "plan": {},
        "wrong": "w" * 300, "us": None, "minimum_us": None,
    }  # fmt: skip
    head = {"schema": gpu_run.SCHEMA, "cnnkern": "0", "command": "", "date": "", "commit": None, "minutes": 1}
    convs = {"rows": [row] * 600, "means": parts("convs").means([row])}
    document = {**head, "quick": False, **dict.fromkeys(gpu_run.STAGES), "stages": [], "convs": convs}
    valid(document)
    assert len(gpu_run.text.essence(document)) < 12_000 < len(gpu_run.text.whole(document))
