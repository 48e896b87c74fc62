from __future__ import annotations

import threading
import time

import pytest

from shared.process import CpuBudget


def work(seconds: float) -> None:
    """Keep the processor busy; a wait takes no time of it."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_budget_counts_the_processors_time_of_all_threads_that_take_part() -> None:
    budget = CpuBudget(0.2, lambda: ValueError("spent"))

    def step(seconds: float) -> None:
        work(seconds)
        budget.begin()
        work(0.05)
        time.sleep(seconds)
        budget.check()

    for seconds in (0.1, 0.3):
        thread = threading.Thread(target=step, args=[seconds])
        thread.start()
        thread.join()
    budget.begin()
    budget.check()
    work(0.11)
    with pytest.raises(ValueError, match="spent"):
        budget.check()
    budget.earn(0.2)
    budget.check()
    # Nothing is saved up.
    budget.earn(100)
    work(0.51)
    with pytest.raises(ValueError, match="spent"):
        budget.check()
