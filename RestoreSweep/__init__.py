"""Every minute: restores whose worker is gone go back into the queue, backfills go on, and old records end."""

from __future__ import annotations

from shared.functions.entry import timer_function
from shared.functions.first_call import resume_broken_chains, sweep

main = timer_function("RestoreSweep", sweep, resume_broken_chains)
