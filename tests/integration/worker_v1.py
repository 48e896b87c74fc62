"""A program that runs the app as Microsoft's worker does from Python 3.13 on: by azure-functions-runtime-v1.

It loads every function folder. It reads a JSON list of calls from standard input and writes the list of their answers
to standard output; of a function without an answer, only whether it succeeded. The messages are the real ones of the
protocol between host and worker; the package brings them along with its own tests. What is missing is the host: routes,
keys, HTTP itself.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import importlib.metadata
import json
import sys
import types
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure_functions_runtime_v1 as runtime

APP = Path.cwd()
FUNCTIONS = sorted(path.parent.name for path in APP.glob("*/function.json"))


def load_protocol() -> Any:
    """Import the messages, whose folder is called `tests` as ours is."""
    package = types.ModuleType("worker_protocol")
    package.__path__ = [str(importlib.metadata.distribution("azure-functions-runtime-v1").locate_file("tests/protos"))]
    sys.modules[package.__name__] = package
    names = ("shared.NullableTypes_pb2", "FunctionRpc_pb2")
    parts = [vars(importlib.import_module(f"{package.__name__}.{name}")) for name in names]
    return types.SimpleNamespace(**(parts[0] | parts[1]))


class Worker:
    """The worker's side of the conversation, after the host has opened it."""

    def __init__(self, protos: Any) -> None:
        self.protos = protos

    def message(self, **content: Any) -> Any:
        """Wrap a message as the worker does that comes before the runtime."""
        properties = {"host": "127.0.0.1", "protos": self.protos}
        return types.SimpleNamespace(request=self.protos.StreamingMessage(**content), properties=properties)

    def check(self, response: Any) -> Any:
        """Return a response that says Success."""
        if response.result.status != self.protos.StatusResult.Success:
            raise RuntimeError(f"{response.result.exception.message}\n{response.result.exception.stack_trace}")
        return response

    async def start(self) -> None:
        """Start the runtime and load all functions."""
        protos = self.protos
        runtime.start_threadpool_executor()
        init = protos.WorkerInitRequest(host_version="4.0.0", function_app_directory=str(APP))
        self.check(await runtime.worker_init_request(self.message(worker_init_request=init)))
        listed = protos.FunctionsMetadataRequest(function_app_directory=str(APP))
        self.check(await runtime.functions_metadata_request(self.message(functions_metadata_request=listed)))
        for name in FUNCTIONS:
            await self.load(name)

    async def load(self, name: str) -> None:
        """Load a function by its folder, as the host describes it."""
        protos, settings = self.protos, settings_of(name)
        metadata = protos.RpcFunctionMetadata(
            name=name,
            directory=str(APP / name),
            script_file=str(APP / name / settings["scriptFile"]),
            entry_point=settings["entryPoint"],
            bindings={
                one["name"]: protos.BindingInfo(
                    type=one["type"], direction=protos.BindingInfo.Direction.Value(one["direction"])
                )
                for one in settings["bindings"]
            },
        )
        load = protos.FunctionLoadRequest(function_id=name, metadata=metadata)
        self.check(await runtime.function_load_request(self.message(function_load_request=load)))

    async def invoke(self, number: int, call: dict[str, Any]) -> dict[str, Any]:
        """Call a function, and return its answer."""
        protos, name = self.protos, call["function"]
        trigger = settings_of(name)["bindings"][0]
        kind = trigger["type"].lower()
        metadata = {}
        if kind == "httptrigger":
            data = protos.TypedData(http=self.http(call))
        elif kind == "queuetrigger":
            data = protos.TypedData(string=call["text"])
            metadata = {key: protos.TypedData(string=text) for key, text in {"Id": "1", "DequeueCount": "1"}.items()}
        else:
            data = protos.TypedData(json=json.dumps({"IsPastDue": False}))
        invocation = protos.InvocationRequest(
            invocation_id=str(number),
            function_id=name,
            input_data=[protos.ParameterBinding(name=trigger["name"], data=data)],
            trigger_metadata=metadata,
        )
        response = await runtime.invocation_request(self.message(invocation_request=invocation))
        if kind != "httptrigger":
            return {"succeeded": response.result.status == protos.StatusResult.Success}
        answer = self.check(response).return_value.http
        return {
            "status": int(answer.status_code),
            "headers": dict(answer.headers),
            "body": base64.b64encode(answer.body.bytes).decode(),
        }

    def http(self, call: dict[str, Any]) -> Any:
        """Make a request as the host does."""
        body = base64.b64decode(call["body"])
        return self.protos.RpcHttp(
            method=call["method"],
            url=call["url"],
            headers=call["headers"],
            params=call["route"],
            query=dict(parse_qsl(urlsplit(call["url"]).query)),
            # An empty body is none in the host's message.
            body=self.protos.TypedData(bytes=body) if body else None,
        )


def settings_of(name: str) -> Any:
    """Read what the host reads of a function."""
    return json.loads((APP / name / "function.json").read_text())


async def main() -> None:
    """Answer all calls."""
    # What the app prints is not an answer.
    output, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(load_protocol())
    await worker.start()
    answers = [await worker.invoke(number, call) for number, call in enumerate(json.load(sys.stdin))]
    runtime.stop_threadpool_executor()
    json.dump(answers, output)


if __name__ == "__main__":
    asyncio.run(main())
