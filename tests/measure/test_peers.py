"""Each engine that is installed answers like the reference, from the file that we write."""

from __future__ import annotations

import pytest

from cnnkern import models
from cnnkern.measure import peers
from cnnkern.measure.peers import race
from cnnkern.measure.peers.worker import Worker
from cnnkern.measure.pictures import Course

INSTALLED = [name for name in peers.PEERS if not peers.missing(name)]


@pytest.mark.parametrize("engine", peers.PEERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_peer(engine, batch, tmp_path):
    if engine not in INSTALLED:
        pytest.skip(peers.missing(engine))
    course = Course("lenet5", models.create("lenet5"))
    task = race.written(peers.Task("lenet5", batch, 1, isa="avx2"), course, tmp_path)
    with Worker(engine, task) as worker:
        heat = race.Heat(task, [race.Entry("ours"), race.Entry(engine)], course.varies)
        race.compare(heat, [worker], course)
        assert heat.entries[1].correct, heat.entries[1].reason
        held = any("avx2" in note for note in worker.built["notes"])
        assert held is not peers.ENGINES[engine].isa_switch
        assert worker.built["version"]
        assert ("image by image" in worker.built["notes"]) is (engine == "ncnn" and batch > 1)
