"""The virtual clock: alone, and with several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import NEVER, VirtualClock
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.workload import Paced, Stop, Workload
from framepace.measure.session import measure

Work = Callable[[], None]


def crew(clock: VirtualClock, *works: Work) -> list[BaseException]:
    """Run each work in a registered thread of its own; what they raised, in order of their numbers."""
    raised: dict[int, BaseException] = {}

    def body(index: int) -> None:
        try:
            with clock.joined(index, len(works)):
                works[index]()
        except BaseException as error:
            raised[index] = error

    threads = [threading.Thread(target=body, args=(index,), daemon=True) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    return [raised[index] for index in sorted(raised)]


def test_one_thread_passes_time_by_waiting_only() -> None:
    """Sleeping and spinning end when they should; spinning is CPU time, sleeping halts the core unless kept."""
    clock = VirtualClock(start=100)
    clock.sleep_until(150)
    clock.spin_until(170)
    clock.sleep_until(160)
    assert (clock.now(), clock.cpu(), clock.halted()) == (170, 20, 50)
    with clock.awake():
        clock.sleep_until(1000)
    assert (clock.now(), clock.cpu(), clock.halted()) == (1000, 20, 50)
    assert clock.process_cpu() == 20


def test_sleeps_end_late_by_the_oversleep() -> None:
    """As a system's timer does; spinning ends on time, and a time that has passed waits for nothing."""
    clock = VirtualClock(oversleep=7)
    clock.sleep_until(100)
    assert clock.now() == 107
    clock.sleep_until(105)
    clock.spin_until(110)
    assert clock.now() == 110


def test_threads_go_on_in_order_of_time_then_of_number() -> None:
    """Five runs of three threads with equal and different times give the same log."""
    logs = []
    for _ in range(5):
        clock, log = VirtualClock(), list[tuple[int, str]]()

        def step(name: str, *times: int, clock: VirtualClock = clock, log: list[tuple[int, str]] = log) -> Work:
            def work() -> None:
                for time in times:
                    clock.sleep_until(time)
                    log.append((clock.now(), name))

            return work

        assert not crew(clock, step("a", 10, 30, 30, 50), step("b", 10, 20, 50), step("c", 5, 30, 40))
        logs.append(log)
    assert logs[0] == [
        (5, "c"), (10, "a"), (10, "b"), (20, "b"), (30, "a"), (30, "a"), (30, "c"), (40, "c"), (50, "a"), (50, "b"),
    ]  # fmt: skip
    assert all(log == logs[0] for log in logs)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), max_size=8), min_size=1, max_size=4))
def test_every_wait_ends_at_its_time_and_time_never_goes_back(gaps: list[list[int]]) -> None:
    """Whatever the gaps: each thread sees the sum of its own, and together they see time in order."""
    clock, seen = VirtualClock(), list[int]()

    def waits(mine: list[int]) -> Work:
        def work() -> None:
            expected = 0
            for gap in mine:
                expected += gap
                clock.spin_until(expected)
                seen.append(clock.now())
                assert clock.now() == expected
            assert clock.cpu() == expected

        return work

    assert not crew(clock, *(waits(mine) for mine in gaps))
    assert seen == sorted(seen)
    assert clock.now() == max(map(sum, gaps))
    assert clock.process_cpu() == sum(map(sum, gaps))


def test_nobody_goes_on_before_all_have_come() -> None:
    """The first thread's time stands still until the second has registered, however late that is."""
    clock, second_may = VirtualClock(), threading.Event()
    log = list[str]()

    def first() -> None:
        with clock.joined(0, 2):
            log.append("first")
            clock.sleep_until(10)

    def second() -> None:
        second_may.wait(20)
        log.append("registers")
        with clock.joined(1, 2):
            clock.sleep_until(5)
            log.append("second")

    threads = [threading.Thread(target=work, daemon=True) for work in (first, second)]
    for thread in threads:
        thread.start()
    second_may.set()
    for thread in threads:
        thread.join(timeout=20)
    assert log == ["registers", "first", "second"]
    assert clock.now() == 10


def test_a_lock_is_handed_over_when_its_holder_gives_it_back() -> None:
    """Holding it through a wait holds up the one who wants it, not time."""
    clock, log = VirtualClock(), list[tuple[str, int]]()
    lock = clock.lock()

    def holder() -> None:
        with lock:
            clock.sleep_until(100)

    def wants() -> None:
        clock.sleep_until(10)
        with lock:
            log.append(("has it", clock.now()))

    def other() -> None:
        clock.sleep_until(50)
        log.append(("goes on", clock.now()))

    assert not crew(clock, holder, wants, other)
    assert log == [("goes on", 50), ("has it", 100)]


def test_a_condition_wakes_when_notified_or_after_its_time() -> None:
    """A notification at 30 ends a wait there; without one the wait lasts its virtual seconds."""
    clock, log = VirtualClock(), list[tuple[bool, int]]()
    condition = clock.condition()

    def waits() -> None:
        with condition:
            log.append((condition.wait(), clock.now()))
            log.append((condition.wait(0.5), clock.now()))

    def notifies() -> None:
        clock.sleep_until(30)
        with condition:
            condition.notify_all()
        clock.sleep_until(40)

    assert not crew(clock, waits, notifies)
    assert log == [(True, 30), (False, 30 + 500_000_000)]


def test_a_changing_time_is_asked_again_when_others_have_run() -> None:
    """A wait whose end another thread moves ends at the new time, earlier or later."""
    clock, due, ends = VirtualClock(), {"early": 100, "late": 40}, dict[str, int]()

    def waits(name: str) -> Work:
        def work() -> None:
            clock.pass_until(lambda: due[name], spins=True)
            ends[name] = clock.now()

        return work

    def moves() -> None:
        clock.sleep_until(20)
        due.update(early=30, late=80)

    assert not crew(clock, waits("early"), waits("late"), moves)
    assert ends == {"early": 30, "late": 80}


def test_a_thread_that_fails_leaves_the_others_running() -> None:
    """Its error is its own; the other thread's waits end on time."""
    clock, ends = VirtualClock(), list[int]()

    def fails() -> None:
        clock.sleep_until(10)
        raise ValueError("mine")

    def goes_on() -> None:
        for time in (5, 20, 30):
            clock.sleep_until(time)
            ends.append(clock.now())

    errors = crew(clock, fails, goes_on)
    assert [str(error) for error in errors] == ["mine"]
    assert ends == [5, 20, 30]


def test_threads_that_wait_for_each_other_are_told_and_the_clock_can_be_used_again() -> None:
    """A deadlock is an error in each of them, not a hang; a later crew runs as ever."""
    clock = VirtualClock()
    condition = clock.condition()

    def waits() -> None:
        with condition:
            condition.wait()

    errors = crew(clock, waits, waits)
    assert [type(error) for error in errors] == [RuntimeError, RuntimeError]
    assert not crew(clock, lambda: clock.sleep_until(10), lambda: clock.sleep_until(20))
    assert clock.now() == 20


def test_nobody_waits_for_a_thread_that_will_not_come() -> None:
    """Those that wait for it are told, and who comes later is too; a run that begins anew runs as ever."""
    clock = VirtualClock()
    errors: list[BaseException] = []

    def join(index: int) -> None:
        try:
            with clock.joined(index, 3):
                pytest.fail("not all have joined")
        except threading.BrokenBarrierError as error:
            errors.append(error)

    first = threading.Thread(target=join, args=(0,), daemon=True)
    first.start()
    clock.abandon()
    join(1)
    first.join(timeout=20)
    assert len(errors) == 2
    clock.begin()
    assert not crew(clock, lambda: clock.sleep_until(10), lambda: clock.sleep_until(20))
    assert clock.now() == 20


def test_a_page_is_waited_for_and_counted_unless_memory_is_locked() -> None:
    """Nothing is known of pages before the first; under the lock none is missing."""
    clock = VirtualClock()
    assert clock.pages_read() == -1
    clock.read_page(7)
    assert (clock.now(), clock.pages_read(), clock.cpu()) == (7, 1, 0)
    with clock.memory_locked():
        clock.read_page(7)
    assert (clock.now(), clock.pages_read()) == (7, 1)
    clock.read_page(0)
    assert (clock.now(), clock.pages_read()) == (7, 2)


class _Late(VirtualClock):
    """A clock whose first worker fails before it joins."""

    @contextmanager
    def joined(self, index: int, of: int) -> Iterator[None]:
        """See Clock."""
        if index == 0:
            raise MemoryError("no more")
        with super().joined(index, of):
            yield


def test_a_worker_that_fails_before_it_joins_ends_the_run() -> None:
    """The other workers, and the threads of the sources, do not wait for it."""
    model = ModelPlan(name="net", model="null", backend="simulated", options={"device": "ideal"})
    engine = EnginePlan(workers=3, decode="thread")
    workload = Workload(load=Paced(fps=100), scope="stream", stop=Stop(count=30))
    with pytest.raises(MemoryError, match="no more"):
        measure(Plan(models=(model,), engine=engine), workload, clock=_Late())


def test_a_thread_alone_that_waits_for_nothing_is_told() -> None:
    """A lock taken twice by the only thread would never be free."""
    clock = VirtualClock()
    lock = clock.lock()
    with lock, pytest.raises(RuntimeError, match="waits for another"), lock:
        pass


def test_a_stranger_cannot_pass_the_time_of_registered_threads() -> None:
    """A thread that forgot to register is told, and those that did are not disturbed."""
    clock, strange = VirtualClock(), list[str]()

    def stranger() -> None:
        try:
            clock.sleep_until(1000)
        except RuntimeError as error:
            strange.append(str(error))

    def member() -> None:
        thread = threading.Thread(target=stranger)
        thread.start()
        thread.join(timeout=20)
        clock.sleep_until(10)

    assert not crew(clock, member, lambda: clock.sleep_until(5))
    assert "without being one" in strange[0]
    assert clock.now() == 10


@pytest.mark.parametrize("clock", [VirtualClock(), SystemClock()])
@pytest.mark.parametrize("spins", [True, False])
def test_any_clock_waits_for_a_changing_time(clock: Clock, spins: bool) -> None:
    """Both clocks ask again after each wait."""
    began = clock.now()
    clock.pass_until(lambda: began + (10 if clock.now() < began + 10 else 25), spins)
    assert clock.now() >= began + 25
    assert NEVER > 10**18


def test_nobody_goes_on_before_the_reserved_threads_have_come() -> None:
    """A worker alone waits for the two threads beside it; at equal times the worker goes first, then by number."""
    clock, log = VirtualClock(), list[tuple[int, str]]()
    places = clock.reserve(2)

    def beside(number: int) -> None:
        with places[number]:
            clock.sleep_until(10)
            log.append((clock.now(), f"beside {number}"))

    threads = [threading.Thread(target=beside, args=(number,), daemon=True) for number in (1, 0)]
    for thread in threads:
        thread.start()
    with clock.joined(0, 1):
        clock.sleep_until(10)
        log.append((clock.now(), "worker"))
        clock.sleep_until(20)
    for thread in threads:
        thread.join(timeout=20)
    assert log == [(10, "worker"), (10, "beside 0"), (10, "beside 1")]
    assert clock.now() == 20


def test_on_the_system_s_clock_nobody_waits_for_anybody() -> None:
    """Joining, reserving and waking ask nothing; locks and conditions are those of `threading`."""
    clock = SystemClock()
    with clock.joined(1, 2), clock.reserve(1)[0], clock.awake(), clock.lock():
        assert clock.halted() <= clock.now()
    condition = clock.condition()
    with condition:
        condition.notify_all()
        assert not condition.wait(0.0)
