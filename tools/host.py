"""A small local stand-in for the Azure Functions host, for machines without Azure Functions Core Tools.

    python -m tools.host [--port 7071] [--root FOLDER] [--workers 1] [--invisible-seconds 600]

It reads `host.json` and each `*/function.json` with an httpTrigger, a queueTrigger or a timerTrigger. It serves HTTP
with Werkzeug; `tools/triggers.py` has the others. As in the real worker, all functions share a few threads:
`PYTHON_THREADPOOL_THREAD_COUNT`, else min(32, CPUs + 4). Further calls wait for one. Requests and answers pass through
the converters of the package azure-functions, which the real Python worker calls too. Like the real host, it answers
404 with an empty body for an unknown route and for a method that the route does not have
(https://github.com/Azure/azure-functions-host/issues/10098), HEAD included (issue 11625 there), and 500 with an empty
body when a function raises. A body without Content-Length (chunked) reaches the function empty, as in the real worker.
Like Core Tools, it asks for no key; so it answers 403 to a `Host` or an `Origin` that is not this machine's,
and to what the browser calls `cross-site` (https://www.w3.org/TR/fetch-metadata/), unless a person follows a link.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import logging
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from azure.functions.http import HttpRequestConverter, HttpResponseConverter
from azure.functions.meta import Datum
from azure.storage.queue import QueueClient
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tools.config import LOOPBACK, REPOSITORY, ToolError, check_port_free, load_config
from tools.route import RouteError, find, make_map, make_rules
from tools.triggers import QueueListener, Timer, read_queue_options

_log = logging.getLogger("host")

_LOCAL = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """One function folder with an httpTrigger.

    Attributes:
        name: the folder's name.
        route: the template of its path, with the prefix of host.json.
        methods: the HTTP methods that it answers to; all where empty.
        binding: the parameter of the entry point that takes the request.
        entry_point: the function itself.
    """

    name: str
    route: str
    methods: tuple[str, ...]
    binding: str
    entry_point: Callable[..., Any]

    def call(self, request: Request, route_params: dict[str, str]) -> Response:
        """Run the entry point the way the Python worker does."""
        trigger = HttpRequestConverter.decode(_to_datum(request, route_params), trigger_metadata=None)
        result = self.entry_point(**{self.binding: trigger})
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
        if result is None:
            return Response(status=204)
        return _to_response(HttpResponseConverter.encode(result, expected_type=None))


@dataclass(frozen=True)
class App:
    """A function app: its functions by their triggers, as `host.json` and each `function.json` describe them."""

    http: tuple[Function, ...]
    queues: tuple[QueueListener, ...]
    timers: tuple[Timer, ...]


# What the real host knows of a binding. It passes over other fields, so that a misspelled one goes unnoticed.
_KNOWN_FIELDS = {
    "httptrigger": {"type", "direction", "name", "authLevel", "route", "methods"},
    "http": {"type", "direction", "name"},
    "queuetrigger": {"type", "direction", "name", "queueName", "connection"},
    "timertrigger": {"type", "direction", "name", "schedule", "runOnStartup", "useMonitor"},
}
_AUTH_LEVELS = ("anonymous", "function", "admin")
# FunctionNameValidationRegex and BindingNameValidationRegex in Azure/azure-functions-host.
_FUNCTION_NAME = re.compile(r"(?!host$)[a-z][a-z0-9_-]{0,127}", re.ASCII | re.IGNORECASE)
_BINDING_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,127}|\$return", re.ASCII)
# https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata#queue-names
_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)


def load_app(root: Path, *, invisible_seconds: float = 600) -> App:
    """Read host.json and every function folder, and import their scripts.

    Args:
        root: the function app's folder; it joins `sys.path`, as in the worker.
        invisible_seconds: how long a message is unseen whose worker has died.

    Raises:
        ToolError: a file is missing or cannot be used; or the real host would not take it.
    """
    try:
        host = json.loads((root / "host.json").read_text())
    except (OSError, ValueError) as exc:
        raise ToolError(f"{root / 'host.json'} cannot be read: {exc}") from exc
    prefix = host.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    options = read_queue_options(host)
    sys.path.insert(0, str(root))
    threads = ThreadPoolExecutor(thread_count(os.environ), thread_name_prefix="function")
    http: list[Function] = []
    queues: list[QueueListener] = []
    timers: list[Timer] = []
    for path in sorted(root.glob("*/function.json")):
        name = path.parent.name
        try:
            loaded, trigger = _load_function(path)
            entry_point = partial(_run_in, threads, loaded)
            kind, binding = trigger["type"].lower(), trigger["name"]
            if kind == "httptrigger":
                route = "/".join(part for part in (prefix.strip("/"), trigger.get("route") or name) if part)
                methods = tuple(method.upper() for method in trigger.get("methods") or ())
                http.append(Function(name, route, methods, binding, entry_point))
            elif kind == "queuetrigger":
                call = _calling(entry_point, binding)
                client = partial(_queue_client, trigger.get("connection") or "AzureWebJobsStorage")
                queue_name = _setting_in(trigger["queueName"])
                if not _QUEUE_NAME.fullmatch(queue_name):
                    raise ToolError(f"{name}: {queue_name} is no name of a queue")
                queues.append(
                    QueueListener(name, call, client, queue_name, options, invisible_seconds=invisible_seconds)
                )
            else:
                timers.append(Timer(name, _calling(entry_point, binding), _setting_in(trigger["schedule"])))
        except (OSError, ValueError, KeyError, ImportError, AttributeError) as exc:
            raise ToolError(f"{name} cannot be loaded: {exc}") from exc
    if not http:
        raise ToolError(f"{root} has no function with an httpTrigger")
    return App(tuple(http), tuple(queues), tuple(timers))


# https://learn.microsoft.com/azure/azure-functions/functions-app-settings#python_threadpool_thread_count
def thread_count(environ: Mapping[str, str]) -> int | None:
    """Return how many functions run at once; None: as many as Python chooses. The worker ignores what is no count."""
    try:
        count = int(environ.get("PYTHON_THREADPOOL_THREAD_COUNT", ""))
    except ValueError:
        return None
    return count if count > 0 else None


def _run_in(threads: Executor, entry_point: Callable[..., Any], **arguments: Any) -> Any:
    """Run a function in one of the worker's threads, and wait for it."""
    return threads.submit(entry_point, **arguments).result()


def _load_function(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function's entry point and its trigger."""
    settings = json.loads(path.read_text())
    name, bindings = path.parent.name, settings["bindings"]
    if not _FUNCTION_NAME.fullmatch(name):
        raise ToolError(f"{name}: no function can be called that")
    for binding in bindings:
        known = _KNOWN_FIELDS.get(binding["type"].lower())
        if known is None:
            raise ToolError(f"{name}: this host knows no binding of the type {binding['type']}")
        if unknown := binding.keys() - known:
            raise ToolError(f"{name}: a {binding['type']} has no {', '.join(sorted(unknown))}")
        if not _BINDING_NAME.fullmatch(binding["name"]):
            raise ToolError(f"{name}: no binding can be called {binding['name']}; letters and digits only")
        if binding.get("authLevel", "function").lower() not in _AUTH_LEVELS:
            raise ToolError(f"{name}: authLevel is one of {', '.join(_AUTH_LEVELS)}")
    triggers = [binding for binding in bindings if binding["type"].lower().endswith("trigger")]
    if len(triggers) != 1:
        raise ToolError(f"{name} has {len(triggers)} triggers; a function has one")
    script = (path.parent / settings["scriptFile"]).resolve().relative_to(path.parent.parent.resolve())
    parts = script.with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    entry_point = getattr(module, settings.get("entryPoint") or "main")
    # As the worker compares them (azure_functions_runtime_v1 1.2, functions.py).
    bound = {binding["name"] for binding in bindings} - {"$return"}
    taken = set(inspect.signature(entry_point).parameters)
    if bound != taken - {"context"}:
        raise ToolError(f"{name}: its bindings are {_list(bound)}, and its function takes {_list(taken)}")
    return entry_point, triggers[0]


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _setting_in(text: str) -> str:
    """Put the app settings into a text that names them as %NAME%. The real host does not start without one of them."""

    def value(match: re.Match[str]) -> str:
        setting = os.environ.get(match[1])
        if setting is None:
            raise ToolError(f"'%{match[1]}%' does not resolve to a value: the app setting is not set")
        return setting

    return re.sub("%([^%]+)%", value, text)


def _calling(entry_point: Callable[..., Any], binding: str) -> Callable[[Any], None]:
    def call(trigger: Any) -> None:
        result = entry_point(**{binding: trigger})
        if asyncio.iscoroutine(result):
            asyncio.run(result)

    return call


def _queue_client(connection: str, queue_name: str) -> QueueClient:
    text = os.environ.get(connection)
    if not text:
        raise ToolError(f"the app setting {connection} is not set; a queueTrigger needs it")
    return QueueClient.from_connection_string(text, queue_name)


def _to_datum(request: Request, route_params: dict[str, str]) -> Datum:
    def strings(pairs: Iterable[tuple[str, str]]) -> dict[str, Datum]:
        return {name: Datum(value, "string") for name, value in pairs}

    # The host joins a query parameter that is given twice by a comma.
    query = ((name, ",".join(values)) for name, values in request.args.lists())
    # Read all the same: a connection that is closed over unread bytes is reset, and the answer is lost.
    sent = request.get_data()
    body = Datum(b"" if request.content_length is None else sent, "bytes")
    return Datum(
        {
            "method": Datum(request.method, "string"),
            # As it was sent: request.url would hold characters that a URL cannot.
            "url": Datum(request.host_url.rstrip("/") + request.environ["RAW_URI"], "string"),
            "headers": strings((name.lower(), value) for name, value in request.headers.items()),
            "query": strings(query),
            "params": strings(route_params.items()),
            "body": body,
        },
        "http",
    )


def _to_response(datum: Datum) -> Response:
    if datum.type == "string":
        return Response(datum.value, content_type="text/plain; charset=utf-8")
    answer = datum.value
    response = Response(answer["body"].value, status=int(answer["status_code"].value))
    # Without Werkzeug's own default beside the function's type.
    response.headers.clear()
    for name, value in answer["headers"].items():
        response.headers[name] = value.value
    for cookie in answer["cookies"] or ():
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response


def make_app(functions: Sequence[Function]) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application over the functions; it never raises.

    Raises:
        RouteError: a function's route is not understood.
    """
    table = make_map([rule for each in functions for rule in make_rules(each.route, each.methods, each)])

    @Request.application
    def app(request: Request) -> Response:
        if not is_from_this_machine(request):
            return Response(status=403)
        found = find(table, request.method, request.path)
        return Response(status=404) if found is None else _run(found[0], request, found[1])

    return app


def is_from_this_machine(request: Request) -> bool:
    """Whether no web page of another site sent the request.

    The host asks for no key, so a developer's own browser could be used against it: by a page of another origin,
    or by a name of its own that a site lets point to loopback (DNS rebinding).
    """
    own = [request.headers.get("Host", "")]
    origin = request.headers.get("Origin")
    if origin is not None:
        scheme, _, authority = origin.partition("://")
        own.append(authority if scheme == "http" else "")
    # An image or a script of another site brings no Origin. A link that a person follows is a navigation.
    is_link = (request.method, request.headers.get("Sec-Fetch-Mode")) == ("GET", "navigate")
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and not is_link:
        return False
    return all(_LOCAL.fullmatch(authority) is not None for authority in own)


def _run(function: Function, request: Request, route_params: dict[str, str]) -> Response:
    invocation = uuid.uuid4()
    _log.info("Executing '%s' (Id=%s)", function.name, invocation)
    try:
        response = function.call(request, route_params)
    except Exception:  # noqa: BLE001 - the host outlives every error
        _log.exception("Executed '%s' (Failed, Id=%s)", function.name, invocation)
        return Response(status=500)
    _log.info("Executed '%s' (Succeeded, Id=%s) -> %d", function.name, invocation, response.status_code)
    return response


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # It brings chunked bodies and `Expect: 100-continue`.

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: each execution is logged."""


def load_local_settings(root: Path) -> None:
    """Put the `Values` of local.settings.json into the environment where they are not set already."""
    path = root / "local.settings.json"
    if path.exists():
        for name, value in json.loads(path.read_text()).get("Values", {}).items():
            os.environ.setdefault(name, str(value))


def main(arguments: list[str]) -> None:
    """Serve the function app until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tools.host", description=__doc__)
    parser.add_argument("--port", type=int, default=load_config().host_port, help="0: queues and timers alone")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the function app's folder")
    parser.add_argument("--workers", type=int, default=1, help="how many processes work on the queues")
    parser.add_argument(
        "--invisible-seconds", type=float, default=600, help="how long a message is unseen whose worker has died"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("azure.core", "azure.storage", "azure.identity", "azure.data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    load_local_settings(chosen.root)
    app = load_app(chosen.root.resolve(), invisible_seconds=chosen.invisible_seconds)
    # `make demo` and `make down` end the host by SIGTERM. As in the real worker, that cuts off what is in flight, and
    # each restore is rolled back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with _more_workers(chosen.workers - 1, chosen.root, chosen.invisible_seconds), _triggers(app):
        if chosen.port:
            _serve(app, chosen.port)
        else:
            signal.pause()


def _serve(app: App, port: int) -> None:
    try:
        wsgi = make_app(app.http)
    except RouteError as exc:
        raise ToolError(str(exc)) from exc
    check_port_free(port, "HOST_PORT", "the function host")
    server = make_server(LOOPBACK, port, wsgi, threaded=True, request_handler=_Handler)
    for function in app.http:
        methods = ",".join(function.methods) or "any"
        print(f"{function.name}: [{methods}] http://{LOOPBACK}:{port}/{function.route}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        server.server_close()


@contextmanager
def _triggers(app: App) -> Iterator[None]:
    """Run the triggers of queues and timers while the body runs."""
    running: tuple[QueueListener | Timer, ...] = (*app.queues, *app.timers)
    for trigger in running:
        trigger.start()
    try:
        yield
    finally:
        for trigger in running:
            trigger.stop()


@contextmanager
def _more_workers(count: int, root: Path, invisible_seconds: float) -> Iterator[None]:
    """Run further processes that work on the queues, as further instances of the app do."""
    command = [sys.executable, "-m", "tools.host", "--port", "0", "--root", str(root)]
    command += ["--invisible-seconds", str(invisible_seconds)]
    workers = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def _run_and_exit(arguments: list[str]) -> None:
    code: int | str | None = 0
    try:
        main(arguments)
    except ToolError as exc:
        code = f"error: {exc}"
    except SystemExit as exc:
        code = exc.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    # Python would wait for the threads of a pool, and so for a restore in flight.
    os._exit(code or 0)


if __name__ == "__main__":
    _run_and_exit(sys.argv[1:])
