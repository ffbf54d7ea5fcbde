"""The virtual machine shares its cores as processor sharing says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.predicting.machine import Cores, MachineClock, Task


@given(st.integers(1, 8), st.integers(1, 12), st.integers(1, 10**7))
def test_equal_tasks_share_the_cores_alike(cores: int, count: int, work: int) -> None:
    """n tasks of one core on c cores take max(1, n / c) times as long as one alone, and n times its CPU time."""
    machine, tasks = Cores(cores, 0), [Task(work) for _ in range(count)]
    for task in tasks:
        machine.add(task, 0)
    end = machine.due(tasks[0], 0)
    assert end == pytest.approx(work * max(1, count / cores), abs=1)
    assert all(machine.due(task, end) == end for task in tasks)
    assert machine.cpu == pytest.approx(count * work, abs=count)


@given(st.integers(1, 4), st.lists(st.integers(1, 10**6), min_size=1, max_size=8), st.floats(1.0, 3.0))
def test_no_work_is_lost_or_won_however_tasks_come_and_go(cores: int, works: list[int], cpu: float) -> None:
    """Tasks that begin while others run, and end at different times, take the CPU time of their work in all."""
    machine, now = Cores(cores, 0), 0
    running = []
    for work in works:
        running.append(Task(work, cpu=cpu))
        machine.add(running[-1], now)
        now += works[0] // 2
    while running:
        now = max(now, min(machine.due(task, now) for task in running))
        for task in [t for t in running if machine.due(t, now) <= now]:
            machine.remove(task, now)
            running.remove(task)
    # A task may go on past its end until its thread is asked: by the steps of this test.
    assert machine.cpu >= cpu * sum(works) * 0.999


def test_neighbours_slow_a_task_as_much_as_was_measured() -> None:
    """`slowdown` counts in full when the cores are full, and not at all alone."""
    machine, task = Cores(2, 0), Task(1000, slowdown=1.5)
    machine.add(task, 0)
    assert machine.due(task, 0) == 1000
    machine.add(Task(10**9), 0)
    assert machine.due(task, 0) == 1500
    machine.add(Task(10**9), 0)
    assert machine.due(task, 0) == 2250


def test_a_spinning_thread_takes_its_share_until_it_stops() -> None:
    """A task beside a spinner on one core has half of it, and all of it when the spinner ends."""
    machine, task = Cores(1, 0), Task(1000)
    machine.idle(Task(float("inf")), 0, until=1000)
    machine.add(task, 0)
    assert machine.due(task, 0) == 1000  # when to ask again
    assert machine.due(task, 1000) == 1500
    assert machine.due(task, 1500) == 1500
    assert machine.cpu == pytest.approx(1500)


def test_a_spinner_can_be_stopped_before() -> None:
    """After that it costs nothing, and stopping it again does nothing."""
    machine, spinner = Cores(1, 0), Task(float("inf"))
    machine.idle(spinner, 0, until=1000)
    machine.end_idle(spinner, 400)
    machine.end_idle(spinner, 900)
    assert machine.cpu == pytest.approx(400)


def test_a_spinning_wait_keeps_a_core_busy() -> None:
    """CPU time passes while spinning and working, not while sleeping."""
    clock = MachineClock(1)
    clock.spin_until(100)
    clock.sleep_until(200)
    clock.work(Task(50))
    assert (clock.now(), clock.process_cpu()) == (250, 150)


def test_threads_wake_as_late_as_told() -> None:
    """A sleep ends that much after it is due."""
    clock = MachineClock(1, wake_delay=lambda: 30)
    clock.sleep_until(100)
    assert clock.now() == 130
