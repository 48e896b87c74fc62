"""The load of one day, and the only loop that repeats it.

`load_day` starts over in a new transaction while the target's chunks keep changing, and whenever a quick way does not
work for these rows. What one transaction does is in `attempt.py`; the ways that it may try are in `plan.py`.
"""

from __future__ import annotations

from shared.errors import DataRejected, TargetLocked
from shared.load.attempt import attempt
from shared.load.day import Day, Loaded, Skipped
from shared.load.find_row import find_refused_row
from shared.load.locks.restore_lock import RestoreLock
from shared.load.plan import DayNotLocked, Fallback, LoadPlan, TargetChanged
from shared.postgres.connect import Connection
from shared.postgres.sqlstate import lacks_a_line

# The load ends when so many attempts have found that the day's chunks or rows changed between the look at them and
# their lock, or that rows go to days that are not locked yet.
MAX_CHANGED_ATTEMPTS = 4


def load_day(connection: Connection, lock: RestoreLock, day: Day) -> Loaded | Skipped:
    """Load one day, and commit it. This is the only loop that repeats a load.

    The fourth attempt that finds the target changed or a day not locked ends the load. Each of the 4 permissions of the
    plan is given up once at most. If a row was refused without its line, one more attempt looks for the line.

    Args:
        connection: the load's, in autocommit.
        lock: is held.
        day: what is loaded.

    Raises:
        TargetLocked: the chunks, or the days that get rows, kept changing.
        RestoreInProgress: another session holds the lock of a day that gets rows.
        RestoreCanceled: the restore was canceled.
        CommitOutcomeUnknown: the server cannot say whether the COMMIT took place.
        RestoreError: nothing was loaded; the target is unchanged.
    """
    plan, changes = LoadPlan.for_request(day.request), 0
    while True:
        day.progress.loads += 1
        try:
            with day.transaction(connection, lock.cancel) as tx:
                return attempt(tx, lock, day, plan)
        except (TargetChanged, DayNotLocked) as exc:
            changes += 1
            if changes == MAX_CHANGED_ATTEMPTS:
                when = day.request.archive.day.isoformat()
                what = f"the chunks over {when}" if isinstance(exc, TargetChanged) else "the days that get rows"
                raise TargetLocked(f"{what} kept changing") from exc
            if isinstance(exc, DayNotLocked):
                # The transaction has ended: what it held of the lock is free.
                lock.take(exc.days)
        except Fallback as exc:
            plan = plan.without(exc)
        except DataRejected as exc:
            if not lacks_a_line(exc):
                raise
            refused = exc
            break
    day.progress.loads += 1
    raise find_refused_row(connection, lock, day, plan, refused)
