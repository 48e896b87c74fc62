"""A small local stand-in for the Azure Functions host, for machines without Azure Functions Core Tools.

    python -m tools.host [--port 7071] [--root FOLDER]

It reads `host.json` (routePrefix) and each `*/function.json` with an httpTrigger, and serves them with
Werkzeug. Requests and answers pass through the converters of the package azure-functions, which the real Python
worker calls too. Like the real host, it answers 404 with an empty body for an unknown route and for a method that
the route does not have (https://github.com/Azure/azure-functions-host/issues/10098), HEAD included (issue 11625
there), and 500 with an empty body when a function raises. A body without Content-Length (chunked) reaches the
function empty, as in the real worker. Like Core Tools, it asks for no key; so it answers 403 to a `Host` or an `Origin`
that is not this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.functions.http import HttpRequestConverter, HttpResponseConverter
from azure.functions.meta import Datum
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tools.config import LOOPBACK, REPOSITORY, ToolError, check_port_free, load_config
from tools.route import RouteError, find, make_map, make_rules

_log = logging.getLogger("host")

_LOCAL = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """One function folder.

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


def load_functions(root: Path) -> list[Function]:
    """Read host.json and every function folder, and import their scripts.

    Args:
        root: the function app's folder; it joins `sys.path`, as in the worker.

    Returns:
        The functions with an httpTrigger, by folder name.

    Raises:
        ToolError: a file is missing or cannot be used.
    """
    try:
        host = json.loads((root / "host.json").read_text())
    except (OSError, ValueError) as exc:
        raise ToolError(f"{root / 'host.json'} cannot be read: {exc}") from exc
    prefix = host.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    sys.path.insert(0, str(root))
    found = []
    for path in sorted(root.glob("*/function.json")):
        try:
            function = _load_function(path, prefix)
        except (OSError, ValueError, ImportError, AttributeError) as exc:
            raise ToolError(f"{path.parent.name} cannot be loaded: {exc}") from exc
        if function is not None:
            found.append(function)
    if not found:
        raise ToolError(f"{root} has no function with an httpTrigger")
    return found


def _load_function(path: Path, prefix: str) -> Function | None:
    name = path.parent.name
    settings = json.loads(path.read_text())
    trigger = next((one for one in settings["bindings"] if one["type"].lower() == "httptrigger"), None)
    if trigger is None:
        return None
    script = (path.parent / settings["scriptFile"]).resolve().relative_to(path.parent.parent.resolve())
    parts = script.with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return Function(
        name=name,
        route="/".join(part for part in (prefix.strip("/"), trigger.get("route") or name) if part),
        methods=tuple(method.upper() for method in trigger.get("methods") or ()),
        binding=trigger["name"],
        entry_point=getattr(module, settings.get("entryPoint") or "main"),
    )


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
    parser.add_argument("--port", type=int, default=load_config().host_port)
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the function app's folder")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("azure.core", "azure.storage", "azure.identity"):
        logging.getLogger(name).setLevel(logging.WARNING)
    load_local_settings(chosen.root)
    functions = load_functions(chosen.root.resolve())
    try:
        app = make_app(functions)
    except RouteError as exc:
        raise ToolError(str(exc)) from exc
    check_port_free(chosen.port, "HOST_PORT", "the function host")
    server = make_server(LOOPBACK, chosen.port, app, threaded=True, request_handler=_Handler)
    for function in functions:
        methods = ",".join(function.methods) or "any"
        print(f"{function.name}: [{methods}] http://{LOOPBACK}:{chosen.port}/{function.route}", flush=True)
    # `make demo` and `make down` end the host by SIGTERM. As in the real worker, that cuts off a request in flight, and
    # its restore is rolled back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        server.server_close()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ToolError as exc:
        sys.exit(f"error: {exc}")
