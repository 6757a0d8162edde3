"""benchmarks/gpu_run.py with scripts in place of compute-sanitizer and ncu."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gpurun import on_the_shim, perform

from cnnkern.backends.cuda import manifest


@on_the_shim
def test_tiny_operations_reach_every_source(parts, place):
    used, function = set(), place.runtime.function

    def noted(kernel):
        used.add(kernel.source)
        return function(kernel)

    place.runtime.function = noted
    assert parts("sanitizers").tiny(place) == len(parts("sanitizers").TINY)
    assert used == {kernel.source for kernel in manifest.kernels()}


def tool(folder: Path, name: str, code: str) -> str:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{code}")
    file.chmod(0o755)
    return str(file)


def test_sanitizers(gpu_run, parts, place, monkeypatch):
    """A tool that finds something, one that does not, one that is not made for this device and one that hangs."""
    sanitizers = parts("sanitizers")
    program = tool(place.work, "compute-sanitizer", """if True:
        import sys, time
        tool = sys.argv[2]
        assert sys.argv[-1] == "--tiny" and "--error-exitcode" in sys.argv
        if tool == "synccheck":
            time.sleep(60)
        if tool == "initcheck":
            print("========= Error: Target application returned an error"); sys.exit(255)
        print("32 operations ran")
        print(f"========= ERROR SUMMARY: {int(tool == 'racecheck')} errors")
        sys.exit(9 if tool == "racecheck" else 0)
    """)  # fmt: skip
    place.command = lambda *words: ["python3", "gpu_run.py", *words]
    monkeypatch.setattr(sanitizers, "find_tool", lambda name: program)
    monkeypatch.setattr(sanitizers, "LIMIT_S", 2.0)
    rows = {row["tool"]: row for row in perform(gpu_run, place, "sanitizers")["sanitizers"]["rows"]}
    assert [rows[name]["outcome"] for name in sanitizers.TOOLS] == [
        "clean", "found something", "did not work: exit code 255", "did not end within 2 s",
    ]  # fmt: skip
    assert rows["racecheck"]["findings"] == ["ERROR SUMMARY: 1 errors"]
    assert (place.out / "sanitizers.txt").read_text().count("---") == 4


def test_without_tools(gpu_run, place, parts, monkeypatch):
    for name in ("sanitizers", "profile"):
        monkeypatch.setattr(parts(name), "find_tool", lambda name: None)
        document = perform(gpu_run, place, name)
        assert document[name]["rows"] == [] and "there is no" in document["stages"][0]["skipped"][0]["why"]


NCU = """if True:
    import json, sys
    if "--query-metrics" in sys.argv:
        print("Device NVIDIA H200 (GH100)")
        print("gpu__time_duration            Counter         ns")
        print("sm__throughput                Throughput      %")
        print("smsp__sass_thread_inst_executed_op_ffma_pred_on  Counter  inst")
        print("sm__ops_path_tensor_src_fp16_dst_fp32  Counter  op")
        sys.exit()
    names = sys.argv[sys.argv.index("--metrics") + 1].split(",")
    asked = json.loads(sys.argv[-1])
    assert sys.argv[-2] == "--layer" and asked["precision"] == "float32" and asked["problem"]
    print("==PROF== Connected to process 1")
    print(json.dumps({"predicted": {"fma": 1000}, "kernel": "k"}))
    print(",".join(['"ID"', '"Kernel Name"', *(f'"{name}"' for name in names)]))
    print(",".join(['""', '""', *('"inst"' for name in names)]))
    for i in range(2):
        print(",".join([f'"{i}"', '"a(b, c)"', *('"510"' if "ffma" in name else '"1,024.5"' for name in names)]))
    print("==PROF== Disconnected")
"""


def test_profile(gpu_run, parts, place, monkeypatch):
    """The layer that is furthest behind, and the multiply-adds that ncu has counted over those predicted."""
    program = tool(place.work, "ncu", NCU)
    monkeypatch.setattr(parts("profile"), "find_tool", lambda name: program)
    place.command = lambda *words: ["python3", "gpu_run.py", *words]
    for key, ratio in (("a", 0.9), ("b", 0.4), ("c", None)):
        row = {"problem": f"conv2d {key}", "precision": "float32", "us": 5.0, "ratio": ratio}
        place.journals["convs"].add(end=key, row=row)
    found = perform(gpu_run, place, "profile")["profile"]
    (row,) = found["rows"]
    assert row["problem"] == "conv2d b" and row["executed_ffma"] == 1020 and row["ffma_ratio"] == pytest.approx(1.02)
    assert len(row["kernels"]) == 2 and row["kernels"][0]["kernel"] == "a(b, c)"
    assert row["kernels"][0]["counters"]["gpu__time_duration.sum"] == 1024.5
    assert "sm__warps_active.avg.pct_of_peak_sustained_active" in found["metrics"]["unknown"]
    assert "op_ffma" in (place.out / "ncu.txt").read_text()


def test_profile_without_times(parts, place):
    """Where no convolution was timed, the first ones are looked at."""
    (row,) = parts("profile").furthest_behind(place)
    assert row == {"problem": next(iter(parts("convs").convolutions(place, 1))).key, "precision": "float16"}
