"""The stages of benchmarks/gpu_run.py. Each is a module with `items(place)`, what there is to do, one by one and the
most telling first, and `section(records)`, what that came to; `text` makes the table.

`place` is the device, `harness` runs items within a time and writes each down as it ends, `ours` and `torch_peer` are
who is timed.
"""
