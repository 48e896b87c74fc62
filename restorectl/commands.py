"""The commands of restorectl: what each one sends, prints and ends with."""

from __future__ import annotations

import functools
import inspect
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from restorectl import __version__, texts
from restorectl.exit_codes import (
    CommandError,
    ExitCode,
    Kind,
    ServiceError,
    UsageError,
    code_of_monitor,
    code_of_plan,
    code_of_result,
)
from restorectl.follow import follow, has_ended, leaving, look_at
from restorectl.key import find_key
from restorectl.report import (
    print_days,
    print_id,
    print_monitor,
    print_monitors,
    print_plan,
    print_result,
    say_error,
    say_plan,
    say_service_error,
)
from restorectl.request import read_request, with_section
from restorectl.screen import Output, Screen
from restorectl.service import Answer, Service, Unanswered, base_of, checked_id, operation_path

app = typer.Typer(
    name="restorectl",
    help="Restore archived days into TimescaleDB, through the functions of restore-chunk.",
    epilog="RESTORE_URL names the function app, https://<host>/api. The key, a host key, comes from RESTORE_KEY, from a"
    " file (--key-file, RESTORE_KEY_FILE) or from --key-command. Data goes to standard output, everything else to"
    " standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the wait ran out, 4 not allowed, 5 canceled,"
    " 6 some days of a backfill failed, 130 Ctrl-C.",
    no_args_is_help=True,
    # Plain help can be copied from, and is the same in every terminal.
    rich_markup_mode=None,
    # It would print the values of variables, the key among them.
    pretty_exceptions_enable=False,
)

Existing = Literal["error", "append", "skip", "replace"]
ExistingOfDays = Literal["error", "append", "skip", "replace", "stale"]
Status = Literal["NotStarted", "Running", "Succeeded", "Failed", "Canceled"]
DayState = Literal["restored", "archived", "stale", "missing", "present", "failed", "running", "unknown"]
Missing = Literal["skip", "error"]
OnFailure = Literal["continue", "stop"]


def _choice(name: str, words: Any, text: str, short: str | None = None, default: Any = None) -> Any:
    """Return an option that takes one of some words, in upper or lower case.

    Typer's own takes no list of such words, and prints "Value error" before what it refuses.

    Args:
        name: of the option.
        words: a Literal of them.
        text: its help.
        short: a name of one letter, or None.
        default: its value where it is not given; only for an option that no Annotated holds.
    """
    known = get_args(words)

    def read(given: str) -> str:
        found = {word.casefold(): word for word in known}.get(given.casefold())
        if found is None:
            raise typer.BadParameter(f"{texts.plain(given)!r} is not one of {', '.join(known)}")
        return str(found)

    names = (name,) if short is None else (name, short)
    shown = f"[{'|'.join(known)}]"
    if default is not None:
        return typer.Option(default, *names, parser=read, metavar=shown, help=text, autocompletion=lambda: list(known))
    return typer.Option(*names, parser=read, metavar=shown, help=text, autocompletion=lambda: list(known))


@dataclass
class Call:
    """One run of a command.

    Attributes:
        service: the function app.
        screen: where it writes.
        leaving: what to print if the user interrupts it now, or None.
        can_sync: whether the command has --sync, which does without the queue.
    """

    service: Service
    screen: Screen
    leaving: str | None = None
    can_sync: bool = False

    @property
    def wants_json(self) -> bool:
        """Whether data is written as JSON."""
        return self.screen.output == "json"


_SERVICE_OPTIONS = {
    "url": (
        str | None,
        typer.Option(None, "--url", envvar="RESTORE_URL", metavar="URL", help="The function app: https://<host>/api."),
    ),
    "key_file": (
        Path | None,
        typer.Option(None, "--key-file", metavar="FILE", help="A file that holds the key, and nothing else."),
    ),
    "key_command": (
        str | None,
        typer.Option(None, "--key-command", metavar="COMMAND", help="A command that prints the key; no shell runs it."),
    ),
    "retry_for": (
        float,
        typer.Option(60.0, "--retry-for", min=0, metavar="SECONDS", help="How long to retry while there is no answer."),
    ),
    "output": (Output, _choice("--output", Output, "The format of the data.", "-o", "table")),
}


def command(example: str, name: str | None = None) -> Callable[[Callable[..., ExitCode]], Callable[..., ExitCode]]:
    """Make a command of a function, with the options that every command has.

    Args:
        example: a command line, for its help.
        name: of the command; else the function's.
    """

    def register(function: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            service = {option: given.pop(option) for option in _SERVICE_OPTIONS}
            raise typer.Exit(_run(functools.partial(function, **given), **service))

        own = inspect.signature(function, eval_str=True)
        parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in own.parameters.values()][1:]
        parameters += [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for option, (kind, default) in _SERVICE_OPTIONS.items()
        ]
        del run.__wrapped__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name, epilog=f"Example:\n\n\b\n  {example}")(run)
        return function

    return register


def _run(
    function: Callable[[Call], ExitCode],
    *,
    url: str | None,
    key_file: Path | None,
    key_command: str | None,
    retry_for: float,
    output: Output,
) -> ExitCode:
    screen = Screen(output)
    call: Call | None = None
    try:
        if not url:
            raise UsageError("RESTORE_URL is not set: it names the function app, https://<host>/api")
        base = base_of(url)
        service = Service(base, find_key(os.environ, key_file, key_command), retry_for, screen.say)
        call = Call(service, screen)
        return function(call)
    except ServiceError as exc:
        if output == "json":
            screen.print_json(exc.body)
        say_service_error(screen, exc.body, can_sync=call is not None and call.can_sync)
        return exc.code
    except CommandError as exc:
        say_error(screen, exc)
        return exc.code
    except typer.Abort:
        # Ctrl-C, or the end of the input, at a question.
        screen.say("nothing was sent")
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        screen.say("interrupted" if call is None or call.leaving is None else f"interrupted; {call.leaving}")
        return ExitCode.INTERRUPTED
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as exc:
        # The function app may be of another version, and its answer may have another shape.
        return _say_strange(screen, call, exc)
    finally:
        if call is not None:
            call.service.close()


def _say_strange(screen: Screen, call: Call | None, exc: Exception) -> ExitCode:
    """Say that an answer has another shape than this version knows. What was asked for may run on all the same."""
    leaving = None if call is None else call.leaving
    say_error(
        screen,
        CommandError(
            f"restorectl {__version__} cannot read the answer ({type(exc).__name__}):"
            " the function app may be of another version",
            next_step=leaving,
        ),
    )
    return ExitCode.FAILED if leaving is None else ExitCode.WAIT_RAN_OUT


ArchiveArgument = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="adls_url of the day: its path, abfss:// or https:// address.")
]
PatternArgument = Annotated[
    str, typer.Argument(metavar="PATTERN", help="adls_url in which {date} stands for the day (YYYY-MM-DD).")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of a restore or a backfill, as `list` shows it.")]
BackfillArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a backfill, as `list --kind backfills` shows it.")
]
ExistingOption = Annotated[
    Existing | None,
    _choice(
        "--existing",
        Existing,
        "What to do with a day that has rows (default: that of --request; else error, and append in staging mode).",
    ),
]
TableOption = Annotated[
    str | None, typer.Option("--table", metavar="SCHEMA.TABLE", help="A table other than the one in the path.")
]
DatabaseOption = Annotated[str | None, typer.Option("--database", help="A database other than the one in the path.")]
RequestOption = Annotated[
    Path | None,
    typer.Option(
        "--request",
        metavar="FILE",
        allow_dash=True,
        help="A JSON object with the rest of the request (docs/request.md); - is standard input.",
    ),
]
IdOption = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="An id of your own: the same request under it is the same operation."),
]
SyncOption = Annotated[
    bool, typer.Option("--sync", help="Do not use the queue: one call, which is cut off after 230 s.")
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Print the id alone, and exit; with --output json, the monitor.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="How long to wait at most; it runs on after that."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before rows are replaced.")]
DayOption = Annotated[str | None, typer.Option("--day", metavar="DAY", help="Only those on this day, as YYYY-MM-DD.")]
FromOption = Annotated[str, typer.Option("--from", metavar="DAY", help="The first day, as YYYY-MM-DD.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="DAY", help="The last day (default: the first day).")]


@command("restorectl restore backups/weavix/silver.telemetry.2025-01-01.csv.gz --existing skip")
def restore(
    call: Call,
    archive: ArchiveArgument,
    *,
    existing: ExistingOption = None,
    table: TableOption = None,
    database: DatabaseOption = None,
    request: RequestOption = None,
    operation_id: IdOption = None,
    sync: SyncOption = False,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
    yes: YesOption = False,
) -> ExitCode:
    """Restore one archived day, and wait for it. Ctrl-C leaves it running."""
    body = _restore_body(archive, existing, table, database, request)
    if body.get("dry_run"):
        raise UsageError("--request asks for a dry run: leave dry_run out, or use `restorectl dry-run`")
    _confirm_replacing(call, body, f"the rows of the day of {archive}", yes=yes)
    return _start(call, body, operation_id, sync=sync, no_wait=no_wait, timeout=timeout)


@command("restorectl dry-run backups/weavix/silver.telemetry.2025-01-01.csv.gz --full")
def dry_run(
    call: Call,
    archive: ArchiveArgument,
    *,
    full: Annotated[bool, typer.Option("--full", help="Check each value and key too.")] = False,
    existing: ExistingOption = None,
    table: TableOption = None,
    database: DatabaseOption = None,
    request: RequestOption = None,
    sync: SyncOption = False,
    timeout: TimeoutOption = None,
) -> ExitCode:
    """Say what a restore would do, and what would end it. Nothing is written."""
    body = _restore_body(archive, existing, table, database, request)
    body["dry_run"] = "full" if full else body.get("dry_run") or True
    return _start(call, body, None, sync=sync, no_wait=False, timeout=timeout)


@command("restorectl backfill 'backups/weavix/silver.telemetry.{date}.csv.gz' --from 2025-01-01 --to 2025-01-31")
def backfill(
    call: Call,
    pattern: PatternArgument,
    *,
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="The first day, as YYYY-MM-DD.")] = None,
    last: ToOption = None,
    day: Annotated[
        list[str] | None, typer.Option("--day", metavar="DAY", help="One day; may be given more than once.")
    ] = None,
    existing: Annotated[
        ExistingOfDays | None,
        _choice("--existing", ExistingOfDays, "What to do with days that have rows (default: error)."),
    ] = None,
    missing: Annotated[
        Missing | None,
        _choice("--missing", Missing, "What to do with days without an archive (default: skip)."),
    ] = None,
    parallel: Annotated[int | None, typer.Option("--parallel", min=1, help="How many groups run at once.")] = None,
    on_failure: Annotated[
        OnFailure | None,
        _choice("--on-failure", OnFailure, "What to do after a day that failed (default: continue)."),
    ] = None,
    plan: Annotated[bool, typer.Option("--dry-run", help="Show the plan. Nothing is written.")] = False,
    table: TableOption = None,
    database: DatabaseOption = None,
    request: RequestOption = None,
    operation_id: IdOption = None,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
    yes: YesOption = False,
) -> ExitCode:
    """Restore many days, and wait for them. Ctrl-C leaves them running."""
    if (first is None) == (not day):
        raise UsageError("name the days: --from and --to, or --day for each")
    if day and last is not None:
        raise UsageError("--to goes with --from")
    body = read_request(request)
    body = with_section(body, "destination", target_table=table)
    body = with_section(body, "pg", database=database)
    fields = {"existing": existing, "missing": missing, "parallel": parallel, "on_failure": on_failure}
    body |= {name: value for name, value in fields.items() if value is not None}
    body |= {"adls_url": pattern, "dates": day or {"from": first, "to": last or first}}
    if plan or body.get("dry_run"):
        shown = call.service.post("/backfills", body | {"dry_run": True}).body
        print_plan(call.screen, shown)
        return code_of_plan(shown)
    _confirm_replacing(call, body, f"the rows of these days by {pattern}", yes=yes)
    return _submit(call, "backfills", "/backfills", body, operation_id, no_wait=no_wait, timeout=timeout)


def _new_id() -> str:
    # Short enough to be typed; the service refuses it for a different request.
    return secrets.token_hex(8)


def _restore_body(
    archive: str, existing: str | None, table: str | None, database: str | None, request: Path | None
) -> dict[str, Any]:
    if "{date}" in archive:
        raise UsageError("ARCHIVE is one day: replace {date} by a day, or use `restorectl backfill`")
    body = read_request(request)
    body = with_section(body, "destination", on_existing=existing, target_table=table)
    body = with_section(body, "pg", database=database)
    return body | {"adls_url": archive}


def _confirm_replacing(call: Call, body: Mapping[str, Any], what: str, *, yes: bool) -> None:
    """Ask before rows are replaced.

    Raises:
        UsageError: there is no terminal to ask on.
        CommandError: the answer is no.
    """
    destination = body.get("destination")
    existing = destination.get("on_existing") if isinstance(destination, dict) else None
    if yes or not {existing, body.get("existing")} & {"replace", "stale"}:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"this replaces {what}, and there is no terminal to ask on: add --yes")
    if "dates" in body:
        plan = call.service.post("/backfills", dict(body) | {"dry_run": True}).body
        say_plan(call.screen, plan)
    if not typer.confirm(texts.plain(f"Replace {what}?"), err=True):
        raise CommandError("nothing was sent", code=ExitCode.CANCELED)


def _start(
    call: Call, body: dict[str, Any], operation_id: str | None, *, sync: bool, no_wait: bool, timeout: float | None
) -> ExitCode:
    call.can_sync = True
    if sync and (no_wait or operation_id is not None):
        raise UsageError("--sync waits in one call: leave --no-wait and --id out")
    if sync:
        return _restore_in_one_call(call, body, timeout)
    return _submit(call, "restores", "/restore", body | {"async": True}, operation_id, no_wait=no_wait, timeout=timeout)


def _restore_in_one_call(call: Call, body: dict[str, Any], timeout: float | None) -> ExitCode:
    unknown = "the restore may run on: look at the day (`restorectl days`) or into the log before it is sent again"
    send = functools.partial(call.service.post_once, "/restore", body | {"async": False}, timeout)
    answer = _send(call, send, unknown)
    print_result(call.screen, answer.body)
    return code_of_result(answer.body)


def _submit(
    call: Call,
    kind: Kind,
    path: str,
    body: Mapping[str, Any] | None,
    own_id: str | None,
    *,
    no_wait: bool,
    timeout: float | None,
) -> ExitCode:
    operation_id = _new_id() if own_id is None else checked_id(own_id)
    answer = _send(
        call,
        functools.partial(call.service.post, path, body, operation_id),
        f"it may have been taken: `restorectl status {operation_id}` says so",
        f"it may have been taken: see `restorectl status {operation_id}`, or send it again with --id {operation_id},"
        " which is the same operation",
    )
    # A request that was sent again for want of an answer may have met itself.
    if own_id is not None and not answer.was_repeated:
        _say_if_known(call, kind, answer.body)
    return _wait(call, kind, answer, no_wait=no_wait, timeout=timeout)


def _say_if_known(call: Call, kind: Kind, monitor: Mapping[str, Any]) -> None:
    """Say that an id names an operation of earlier, since its end looks as if it were that of this command."""
    taken = f"{monitor['id']} is the {kind.removesuffix('s')} that was taken at {texts.moment(monitor.get('created'))}"
    if has_ended(monitor):
        call.screen.say_word(
            "known:",
            f"{taken} and ended at {texts.moment(monitor.get('ended'))}: nothing was done now, and what follows is how"
            " it ended then; it is done again under another --id, or without one",
            "bold yellow",
        )
    elif monitor["status"] != "NotStarted" or monitor.get("attempt"):
        call.screen.say_word("known:", f"{taken}: it runs, and is not started once more", "bold yellow")


def _send(call: Call, send: Callable[[], Answer], unknown: str, next_step: str | None = None) -> Answer:
    """Send a request that must be taken only once.

    Args:
        call: keeps the message to print if the user interrupts the command.
        send: sends it.
        unknown: what to print while it is unknown whether it was taken.
        next_step: what to do if there was no answer; else what is unknown.

    Raises:
        CommandError: it was sent, and there was no answer.
        Unanswered: it was not sent.
    """
    call.leaving = unknown
    try:
        return send()
    except Unanswered as exc:
        if exc.was_sent:
            raise CommandError(str(exc), code=ExitCode.WAIT_RAN_OUT, next_step=next_step or unknown) from None
        raise


def _wait(call: Call, kind: Kind, answer: Answer, *, no_wait: bool, timeout: float | None) -> ExitCode:
    """Follow an operation to its end and print it, or print where it stands."""
    runs_on = leaving(str(answer.body["id"]))
    if no_wait:
        print_id(call.screen, answer.body)
        if not has_ended(answer.body):
            call.screen.say(runs_on)
        return ExitCode.DONE
    return code_of_monitor(_followed(call, kind, answer, timeout, runs_on).body)


def _followed(call: Call, kind: Kind, answer: Answer, timeout: float | None, unknown: str) -> Answer:
    """Follow an operation to its end and print it.

    Args:
        call: keeps the message to print if the user interrupts the command.
        kind: of the operation.
        answer: its monitor as it is known.
        timeout: how long to wait at most, in seconds, or None.
        unknown: what to print while it has not ended.
    """
    call.leaving = unknown
    answer = follow(call.service, call.screen, kind, answer, timeout)
    print_monitor(call.screen, _whole(call, kind, answer))
    return answer


def _whole(call: Call, kind: Kind, answer: Answer) -> dict[str, Any]:
    """Return a monitor with all days of a backfill, which come in pages."""
    monitor = answer.body
    if monitor.get("nextLink") is None:
        return monitor
    path = operation_path(kind, str(monitor["id"]))
    days = [day for page in call.service.pages(path, look_at(kind)) for day in page]
    return monitor | {"value": days, "nextLink": None}


def _find(call: Call, operation_id: str) -> tuple[Kind, Answer]:
    """Return an operation's kind and its monitor."""
    try:
        return "restores", call.service.get(operation_path("restores", checked_id(operation_id)))
    except ServiceError as exc:
        if exc.body["error"]["code"] != "OperationNotFound":
            raise
        unknown = exc
    try:
        return "backfills", call.service.get(operation_path("backfills", operation_id), look_at("backfills"))
    except (ServiceError, Unanswered) as exc:
        # An older function app knows no backfills.
        is_unknown = isinstance(exc, ServiceError) or exc.status == HTTPStatus.NOT_FOUND
        raise unknown if is_unknown else exc from None


@command("restorectl status 3f2a9c1e5b7d4f60")
def status(call: Call, operation_id: IdArgument) -> ExitCode:
    """Show a restore or a backfill. Ends with 0, whatever its outcome; `watch` has an exit code for each."""
    kind, answer = _find(call, operation_id)
    print_monitor(call.screen, _whole(call, kind, answer))
    return ExitCode.DONE


@command("restorectl watch 3f2a9c1e5b7d4f60 --timeout 3600")
def watch(call: Call, operation_id: IdArgument, timeout: TimeoutOption = None) -> ExitCode:
    """Wait for a restore or a backfill that was left running."""
    kind, answer = _find(call, operation_id)
    return _wait(call, kind, answer, no_wait=False, timeout=timeout)


@command("restorectl cancel 3f2a9c1e5b7d4f60")
def cancel(
    call: Call,
    operation_id: IdArgument,
    *,
    running: Annotated[bool, typer.Option("--running", help="For a backfill: also cancel the days that run.")] = False,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> ExitCode:
    """Cancel a restore, or stop a backfill, and wait until it has ended. Ends with 1 if it had ended before."""
    kind, _ = _find(call, operation_id)
    query = {"running": "cancel"} if running and kind == "backfills" else None
    answer = call.service.delete(operation_path(kind, operation_id), query)
    if no_wait:
        print_id(call.screen, _whole(call, kind, answer))
    else:
        unknown = f"it is being canceled: see it with `restorectl watch {operation_id}`"
        answer = _followed(call, kind, answer, timeout, unknown)
    return ExitCode.FAILED if answer.body["status"] in ("Succeeded", "Failed") else ExitCode.DONE


@command("restorectl retry 3f2a9c1e5b7d4f60")
def retry(
    call: Call, operation_id: BackfillArgument, *, no_wait: NoWaitOption = False, timeout: TimeoutOption = None
) -> ExitCode:
    """Restore again the days of a backfill that are not in.

    Those failed, were canceled, or were missing until now.
    """
    path = f"{operation_path('backfills', checked_id(operation_id))}/retry"
    maybe = f"it may have been taken: `restorectl watch {operation_id}` says so"
    try:
        answer = _send(call, functools.partial(call.service.post_once, path, None), maybe)
    except ServiceError as exc:
        _check_not_a_restore(call, operation_id, exc)
        raise
    return _wait(call, "backfills", answer, no_wait=no_wait, timeout=timeout)


def _check_not_a_restore(call: Call, operation_id: str, exc: ServiceError) -> None:
    """Explain that a backfill is not known where the id is one of a restore.

    Raises:
        UsageError: it is one.
    """
    if exc.body["error"]["code"] != "OperationNotFound" or _find(call, operation_id)[0] != "restores":
        return
    raise UsageError(
        f"{operation_id} is a restore, and only backfills are retried: send it again with `restorectl restore`"
    ) from None


@command("restorectl list --status Failed --table silver.telemetry", name="list")
def list_operations(
    call: Call,
    *,
    kind: Annotated[Kind, _choice("--kind", Kind, "What to list.")] = "restores",
    state: Annotated[Status | None, _choice("--status", Status, "Only operations of this status.")] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="SCHEMA.TABLE", help="Only operations on this table.")
    ] = None,
    database: Annotated[str | None, typer.Option("--database", help="Only operations on this database.")] = None,
    day: DayOption = None,
    backfill_id: Annotated[
        str | None, typer.Option("--backfill", metavar="ID", help="Only this backfill's days.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, max=100_000, help="How many at most.")] = 50,
) -> ExitCode:
    """List restores or backfills, newest first."""
    filters = {"table": table, "database": database, "day": day, "backfill": backfill_id}
    if kind == "backfills" and any(value is not None for value in filters.values()):
        raise UsageError("backfills are listed by --status alone")
    query = {"status": state, **filters, "top": str(min(top, 1000))}
    monitors: list[dict[str, Any]] = []
    for page in call.service.pages(f"/{kind}", {name: value for name, value in query.items() if value is not None}):
        monitors += page
        if len(monitors) >= top:
            break
    print_monitors(call.screen, kind, monitors[:top])
    return ExitCode.DONE


@command("restorectl days 'backups/weavix/silver.telemetry.{date}.csv.gz' --from 2025-01-01 --to 2025-01-31")
def days(
    call: Call,
    pattern: PatternArgument,
    *,
    first: FromOption,
    last: ToOption = None,
    state: Annotated[
        list[str] | None,
        _choice("--state", DayState, "Only days of this state; may be given more than once."),
    ] = None,
    table: TableOption = None,
    database: DatabaseOption = None,
    time_column: Annotated[str | None, typer.Option("--time-column", help="The time column of a plain table.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="Count the rows of each day.")] = False,
) -> ExitCode:
    """Show for each day whether it is archived, restored or missing."""
    query = {
        "adls_url": pattern,
        "from": first,
        "to": last or first,
        "target_table": table,
        "database": database,
        "time_column": time_column,
        "counts": "true" if counts else None,
    }
    asked = {name: value for name, value in query.items() if value is not None}
    found = [day for page in call.service.pages("/days", asked) for day in page]
    print_days(call.screen, found, state)
    return ExitCode.DONE


@command("restorectl open", name="open")
def open_page(call: Call) -> ExitCode:
    """Print the address of the page for a browser. It asks for the key itself."""
    address = call.service.url("/ui")
    if call.wants_json:
        call.screen.print_json({"url": address})
    else:
        call.screen.print_text(address)
    return ExitCode.DONE


def _print_version(value: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if value:
        typer.echo(f"restorectl {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version, and exit.")
]


@app.callback()
def _options(*, version: VersionOption = False) -> None:
    assert not version  # noqa: S101 - its callback has ended the program


def _terminated(number: int, _: object) -> None:
    # Through the contexts, so that a bar gives the terminal its cursor back.
    sys.exit(128 + number)


def main() -> None:
    """Run a command line. This is the program's entry point."""
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="restorectl")
