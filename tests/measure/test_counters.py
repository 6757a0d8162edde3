"""The processor's counters: events against the vendors' documents, the kernel's struct, refusals, shared counters.

The kernel is made up here; `TestHere` asks the real one, and where it grants nothing looks at the reason.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections import Counter as Tally
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from cnnkern import backends, models
from cnnkern.cli import main
from cnnkern.measure import counters
from cnnkern.measure.accounting import LayerAccount, ModelAccount, account
from cnnkern.ops.base import Counts
from cnnkern.report import flops, parts

SAPPHIRE_RAPIDS, ZEN_5 = ("GenuineIntel", 6, 0x8F), ("AuthenticAMD", 0x1A, 2)
EXECUTED = Counts(fma=1000, mul=50, add=60, max=40, special=10)


class MadeUp(counters.Kernel):
    """A processor whose events count what `work` adds, on `tids` threads; `refuse` says no to every event.

    `on`: the share of its time that an event has a counter; `gone`: threads that end before they are opened.
    """

    def __init__(self, cpu=ZEN_5, *, machine="x86_64", refuse=0, on=1.0, tids=(7, 8), gone=(), files=None):
        self._cpu, self._machine, self.refuse, self.on, self.tids, self.gone = cpu, machine, refuse, on, tids, gone
        self.files = files or {}
        self.handles: dict[int, tuple[int, int]] = {}  # handle -> (thread, config)
        self.closed: list[int] = []
        self.values = Tally()  # (thread, config) -> increments
        self.clock = Tally()  # thread -> nanoseconds it ran

    def machine(self):
        return self._machine

    def cpu(self):
        return self._cpu

    def hybrid(self):
        return "hybrid" in self.files

    def read_text(self, path):
        return self.files.get(path)

    def threads(self):
        return list(self.tids)

    def open(self, attributes, thread):
        if self.refuse or thread in self.gone:
            raise OSError(self.refuse or errno.ESRCH, os.strerror(self.refuse or errno.ESRCH))
        handle = 100 + len(self.handles)
        self.handles[handle] = thread, counters.ATTR.unpack(attributes)[2]
        return handle

    def read(self, handle):
        thread, config = self.handles[handle]
        ran = int(self.clock[thread] * self.on)
        return counters.READING.pack(int(self.values[thread, config] * self.on), self.clock[thread], ran)

    def close(self, handle):
        self.closed.append(handle)

    def work(self, thread, ns=1_000_000, **increments):
        """`e0803=5`: five increments of the event 0x0803."""
        self.clock[thread] += ns
        for event, times in increments.items():
            self.values[thread, int(event[1:], 16)] += times


class Run:
    """An executable of two steps that does the same work on the kernel whenever it runs."""

    def __init__(self, work):
        self.work = work

    def __call__(self, x):
        for step in (0, 1):
            self.work(step)

    def watch(self, x, stop):
        for step in (0, 1):
            self.work(step)
            stop(type("Step", (), {"name": f"step{step}"}), 1.0, None)


# Intel SDM 3B, "Performance monitoring events": FP_ARITH_INST_RETIRED is event C7H; perfmon-events.intel.com has the
# umasks. AMD PPR of family 1Ah, model 02h (and 17h/31h, 19h/01h, 19h/11h): PMCx003, its type bits 3:0 add, multiply,
# divide, multiply-accumulate; a raw event is umask << 8 | event, for both.
@pytest.mark.parametrize("event, umask, weight", [(0xC7, 0x02, 1), (0xC7, 0x08, 4), (0xC7, 0x20, 8), (0xC7, 0x80, 16)])
def test_intels_single_precision_events(event, umask, weight):
    assert counters.Event(umask << 8 | event, weight) in counters.INTEL.events and len(counters.INTEL.events) == 4


def test_amds_event_is_the_sum_of_four_kinds():
    assert counters.AMD.events == (counters.Event((0x01 | 0x02 | 0x04 | 0x08) << 8 | 0x03, 1),)


@pytest.mark.parametrize(
    "cpu, expected",
    [
        (SAPPHIRE_RAPIDS, counters.INTEL),
        (("GenuineIntel", 6, 0x55), counters.INTEL),  # Skylake-SP
        (("GenuineIntel", 6, 0x3C), None),  # Haswell has no such event
        (("GenuineIntel", 6, 0x9E), counters.INTEL),
        (("AuthenticAMD", 0x17, 0x01), None),  # Zen: the umask means other things
        (("AuthenticAMD", 0x17, 0x31), counters.AMD),  # Zen 2
        (("AuthenticAMD", 0x19, 0x11), counters.AMD),  # Zen 4
        (ZEN_5, counters.AMD),
        (("AuthenticAMD", 0x15, 0x02), None),
        (("", -1, -1), None),
    ],
)
def test_families(cpu, expected):
    found, reason = counters.source(MadeUp(cpu))
    assert found is expected and (reason == "") is (expected is not None)


def test_no_other_system_is_asked():
    assert "Linux" in counters.source(MadeUp(machine="aarch64"))[1]
    assert "Linux" in counters.source(MadeUp(machine=""))[1]
    assert "hybrid" in counters.source(MadeUp(SAPPHIRE_RAPIDS, files={"hybrid": ""}))[1]


def test_the_struct_is_the_kernels():
    """uapi/linux/perf_event.h, PERF_ATTR_SIZE_VER0; the flags are the bit field's first bits."""

    class Attr(ctypes.Structure):
        _fields_ = [
            ("type", ctypes.c_uint32),
            ("size", ctypes.c_uint32),
            ("config", ctypes.c_uint64),
            ("sample_period", ctypes.c_uint64),
            ("sample_type", ctypes.c_uint64),
            ("read_format", ctypes.c_uint64),
            *((name, ctypes.c_uint64, 1) for name in ("disabled", "inherit", "pinned", "exclusive")),
            *((name, ctypes.c_uint64, 1) for name in ("exclude_user", "exclude_kernel", "exclude_hv", "exclude_idle")),
            ("others", ctypes.c_uint64, 56),
            ("wakeup_events", ctypes.c_uint32),
            ("bp_type", ctypes.c_uint32),
            ("config1", ctypes.c_uint64),
        ]

    made = Attr.from_buffer_copy(counters.attributes(0x0F03))
    assert ctypes.sizeof(Attr) == counters.ATTR.size == made.size == 64
    assert (made.type, made.config, made.read_format) == (4, 0x0F03, 3)
    set_bits = {name for name, _, *bits in Attr._fields_ if bits == [1] and getattr(made, name)}
    assert set_bits == {"inherit", "exclude_kernel", "exclude_hv"}
    assert (made.others, made.sample_period, made.sample_type, made.wakeup_events, made.config1) == (0,) * 5


@pytest.mark.parametrize(
    "number, words",
    [
        (errno.EACCES, "perf_event_paranoid is 4"),
        (errno.EPERM, "perf_event_paranoid is 4"),
        (errno.ENOENT, "virtual machine"),
        (errno.EOPNOTSUPP, "virtual machine"),
        (errno.ENOSYS, "no perf events"),
        (errno.EMFILE, "open files"),
        (errno.EINVAL, "Invalid argument"),
    ],
)
def test_a_refusal_is_a_sentence(number, words):
    kernel = MadeUp(refuse=number, files={"/proc/sys/kernel/perf_event_paranoid": "4\n"})
    assert words in counters.ask(kernel)[1]
    found = counters.measure(Run(lambda step: None), None, EXECUTED, kernel)
    assert words in found.reason and found.flops is None and found.agrees is None and found.layers == {}


def test_every_thread_is_counted_and_every_event_closed():
    kernel = MadeUp()
    found = counters.measure(Run(lambda step: kernel.work(7 + step, e0F03=1000 + 60 * step)), None, EXECUTED, kernel)
    assert found.flops == 2060 and found.layers == {"step0": 1000, "step1": 1060}
    assert found.seen == 2 * 1000 + 50 + 60 + 10 and found.slack == 0 and found.running == 1.0
    assert found.deviation == pytest.approx(2060 / 2120 - 1) and found.agrees is False
    assert sorted(kernel.closed) == sorted(kernel.handles)


def test_intels_widths_have_their_weights():
    kernel = MadeUp(SAPPHIRE_RAPIDS, tids=(7,))
    events = {"e02C7": 3, "e08C7": 5, "e20C7": 7, "e80C7": 11}
    found = counters.measure(Run(lambda step: step or kernel.work(7, **events)), None, None, kernel)
    assert found.flops == 3 + 4 * 5 + 8 * 7 + 16 * 11 and found.agrees is None  # nothing was counted beside it


def test_a_shared_counter_is_scaled_up():
    kernel = MadeUp(on=0.25, tids=(7,))
    found = counters.measure(Run(lambda step: kernel.work(7, e0F03=1060)), None, EXECUTED, kernel)
    assert found.flops == 2120 and found.running == 0.25 and found.deviation == 0 and found.agrees


def test_an_event_that_never_had_a_counter_says_nothing():
    kernel = MadeUp(on=0.0)
    found = counters.measure(Run(lambda step: kernel.work(7, e0F03=1060)), None, EXECUTED, kernel)
    assert found.flops is None and "never had a counter" in found.reason


def test_a_thread_that_ended_is_passed_over():
    kernel = MadeUp(tids=(7, 8, 9), gone=(8,))
    assert counters.ask(kernel) == (counters.AMD.name, "")
    assert {thread for thread, _ in kernel.handles.values()} == {7, 9}
    assert "does not take" in counters.ask(MadeUp(gone=(7, 8)))[1]


def test_a_thread_that_all_but_slept_does_not_say_how_long_events_ran():
    before = [counters.Reading(1, 0, 0, 0)] * 2
    after = [counters.Reading(1, 100, 1_000_000, 1_000_000), counters.Reading(1, 0, 10, 0)]
    assert counters.between(before, after) == (100.0, 1.0)


@pytest.mark.parametrize("share, good", [(0.981, True), (0.979, False), (1.019, True), (1.021, False)])
def test_two_percent(share, good):
    found = counters.Hardware(flops=round(share * 10**6), seen=10**6)
    assert found.agrees is good


def test_comparisons_are_held_against_what_the_counter_sees_of_them():
    """A maximum is counted by Intel, a compare with a select is not: what lies between agrees, what is beyond not."""
    executed = Counts(fma=1000, max=400)
    seen, slack = counters.INTEL.seen(executed), counters.INTEL.slack(executed)
    for read, beyond in ((2000, 0), (2400, 0), (2200, 0), (1989, -11), (2411, 11)):
        found = counters.Hardware(flops=read, seen=seen, slack=slack)
        assert found.deviation == pytest.approx(beyond / seen)
    assert counters.AMD.seen(executed) == 2000 and counters.AMD.slack(executed) == 0


@pytest.fixture
def granting(monkeypatch):
    """`granting(share)`: counters that find `share` of what the cpu backend executes, where it is."""

    def install(share: float):
        def measure(executable, x, executed, kernel=None):
            seen = counters.AMD.seen(executed)
            return counters.Hardware(source="made up", flops=round(share * seen), seen=seen, running=1.0)

        monkeypatch.setattr(counters, "measure", measure)

    return install


@pytest.mark.skipif(backends.available()["cpu"] != "", reason=f"no cpu backend: {backends.available()['cpu']}")
@pytest.mark.parametrize("share, code", [(1.004, 0), (0.9, 1)])
@pytest.mark.parametrize("argv", [("flops", "lenet5"), ("bench", "lenet5", "--seconds", "0.01")])
def test_a_disagreement_is_an_exit_code(granting, capsys, share, code, argv):
    granting(share)
    assert main([*argv]) == code
    out = capsys.readouterr().out
    assert "FLOP by made up" in out and ("agrees" if code == 0 else "WRONG") in out
    assert ("executed,\n" in out) is False and ("hardware" in out)


def test_a_line_per_model_says_hardware_or_counted():
    layer = LayerAccount("a", "k", EXECUTED, EXECUTED, EXECUTED, {})
    read = counters.Hardware(source="made up", flops=2_150, seen=2_120, running=0.5)
    refused = counters.Hardware("it says no")
    rows = [("one", ModelAccount((layer,)), read), ("two", ModelAccount((layer,)), refused)]
    console = Console(width=140, file=StringIO())
    console.print(flops.flops_all(rows, 1, "cpu", "avx2"))
    shown = console.file.getvalue()
    assert "hardware" in shown and "2.15" in shown and "counted alone: it says no" in shown
    assert "counted" in next(line for line in shown.splitlines() if line.startswith("two"))
    verdict = parts.hardware_verdict(read)
    assert "agrees" in verdict and "1.42 % more" in verdict and "counted 50 % of the time" in verdict
    assert "WRONG" in parts.hardware_verdict(replace(read, flops=3000))


class TestHere:
    """The kernel of this machine."""

    def test_it_grants_or_says_why_not(self, capsys):
        name, reason = counters.granted()
        assert bool(name) != bool(reason)
        assert main(["flops", "lenet5", "--backend", "reference"]) == 0
        assert main(["info"]) == 0
        assert ("granted" if name else "counters") in capsys.readouterr().out

    @pytest.mark.skipif(sys.platform != "linux", reason="perf events are Linux's")
    def test_the_layer_below_works_on_the_software_clock(self):
        """Where perf events are there at all, the task clock of every thread is: the same calls, another event."""

        class TaskClock(counters.Kernel):
            def open(self, attributes, thread):
                words = list(counters.ATTR.unpack(attributes))
                words[0], words[2] = 1, 1  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK
                return super().open(counters.ATTR.pack(*words), thread)

        kernel = TaskClock()
        if kernel.machine() not in counters.SYSCALLS:
            pytest.skip("no system call number for this architecture")
        try:
            counter = counters.Counter(counters.AMD, kernel)
        except OSError as error:
            assert counters.why_not(error, kernel)
            return
        with counter:
            before = counter.read()
            sum(i * i for i in range(300_000))
            span = counters.between(before, counter.read())
        assert 1e6 < span.flops < 60e9 and span.running == 1.0  # nanoseconds
        assert counter.read() == []  # closed

    @pytest.mark.skipif(backends.available()["cpu"] != "", reason="no cpu backend")
    def test_executed_operations_are_what_the_processor_counted(self, rng):
        executable = models.create("squeezenet1_1").compile(input_shape=(1, 3, 224, 224), backend="cpu", threads=2)
        x = rng.standard_normal((1, 3, 224, 224), np.float32)
        counts = account(executable, x)
        found = counters.measure(executable, x, counters.whole(counts.layers))
        if found.reason:
            assert found.reason == counters.granted()[1] and found.flops is None
        else:
            assert found.agrees, (found.flops, found.seen, found.slack, found.running)
            assert sum(found.layers.values()) == pytest.approx(found.flops, rel=0.02)
