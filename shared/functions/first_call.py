"""What each function does, imported by its first call.

The host imports the folders of all functions one after the other before it answers anything, so they load little. An
instance that has just been started answers its first request sooner, unless that is a restore, which needs nearly all
of it (docs/performance.md#what-it-costs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.process import current_join

if TYPE_CHECKING:
    from shared.api.call import HttpCall
    from shared.api.handle import HttpAnswer


def post_restore(call: HttpCall) -> HttpAnswer:
    """See `shared.jobs.http`."""
    from shared.jobs.http import post_restore

    return post_restore(call, join=current_join())


def get_restores(call: HttpCall) -> HttpAnswer:
    """See `shared.jobs.http`."""
    from shared.jobs.http import get_restores

    return get_restores(call)


def get_result(call: HttpCall) -> HttpAnswer:
    """See `shared.jobs.http`."""
    from shared.jobs.http import get_result

    return get_result(call)


def backfills(call: HttpCall) -> HttpAnswer:
    """See `shared.backfills.http`."""
    from shared.backfills.http import backfills

    return backfills(call)


def backfill_result(call: HttpCall) -> HttpAnswer:
    """See `shared.backfills.http`."""
    from shared.backfills.http import result

    return result(call)


def retry_backfill(call: HttpCall) -> HttpAnswer:
    """See `shared.backfills.http`."""
    from shared.backfills.http import retry

    return retry(call)


def get_days(call: HttpCall) -> HttpAnswer:
    """See `shared.calendar.http`."""
    from shared.calendar.http import get_days

    return get_days(call)


def get_health(_: HttpCall) -> HttpAnswer:
    """See `shared.health.http`."""
    from shared.health.http import get_health

    return get_health()


def get_health_details(_: HttpCall) -> HttpAnswer:
    """See `shared.health.http`."""
    from shared.health.http import get_details

    return get_details()


def get_page(_: HttpCall) -> HttpAnswer:
    """See `shared.page.page`."""
    from shared.api.handle import HttpAnswer
    from shared.page.page import page, page_headers

    return HttpAnswer(200, page_headers(), page())


def dispatch_message(text: bytes) -> None:
    """See `shared.backfills.worker`."""
    from shared.backfills.worker import dispatch_message
    from shared.functions.entry import half_of_function_timeout

    dispatch_message(text, join=current_join(), seconds=half_of_function_timeout())


def end_poisoned(text: bytes) -> None:
    """See `shared.jobs.sweep`."""
    from shared.jobs.sweep import end_poisoned

    end_poisoned(text)


def archive_arrived(text: bytes) -> None:
    """See `shared.arrivals.arrive`."""
    from shared.arrivals.arrive import archive_arrived

    archive_arrived(text)


def restore_daily() -> None:
    """See `shared.arrivals.daily`."""
    from shared.arrivals.daily import restore_daily

    restore_daily()


def sweep() -> None:
    """See `shared.jobs.sweep`."""
    from shared.jobs.sweep import sweep

    sweep()


def resume_broken_chains() -> None:
    """See `shared.backfills.worker`."""
    from shared.backfills.worker import resume_broken_chains

    resume_broken_chains()
