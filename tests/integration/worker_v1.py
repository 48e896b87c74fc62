"""A program that runs RestoreChunk as Microsoft's worker does from Python 3.13 on: by azure-functions-runtime-v1.

It reads a JSON list of requests from standard input and writes the list of their answers to standard output. The
messages are the real ones of the protocol between host and worker; the package brings them along with its own tests.
What is missing is the host: routes, keys, HTTP itself.
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

import azure_functions_runtime_v1 as runtime

APP = Path.cwd()
FUNCTION = "RestoreChunk"


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
        """Start the runtime and load the function."""
        protos = self.protos
        runtime.start_threadpool_executor()
        init = protos.WorkerInitRequest(host_version="4.0.0", function_app_directory=str(APP))
        self.check(await runtime.worker_init_request(self.message(worker_init_request=init)))
        listed = protos.FunctionsMetadataRequest(function_app_directory=str(APP))
        self.check(await runtime.functions_metadata_request(self.message(functions_metadata_request=listed)))
        settings = json.loads((APP / FUNCTION / "function.json").read_text())
        metadata = protos.RpcFunctionMetadata(
            name=FUNCTION,
            directory=str(APP / FUNCTION),
            script_file=str(APP / FUNCTION / settings["scriptFile"]),
            entry_point=settings["entryPoint"],
            bindings={
                one["name"]: protos.BindingInfo(
                    type=one["type"], direction=protos.BindingInfo.Direction.Value(one["direction"])
                )
                for one in settings["bindings"]
            },
        )
        load = protos.FunctionLoadRequest(function_id=FUNCTION, metadata=metadata)
        self.check(await runtime.function_load_request(self.message(function_load_request=load)))

    async def invoke(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """Let the function answer one request."""
        protos = self.protos
        body = base64.b64decode(request["body"])
        http = protos.RpcHttp(
            method="POST",
            url=request["url"],
            headers=request["headers"],
            # An empty body is none in the host's message.
            body=protos.TypedData(bytes=body) if body else None,
        )
        invocation = protos.InvocationRequest(
            invocation_id=str(number),
            function_id=FUNCTION,
            input_data=[protos.ParameterBinding(name="req", data=protos.TypedData(http=http))],
        )
        response = await runtime.invocation_request(self.message(invocation_request=invocation))
        answer = self.check(response).return_value.http
        return {
            "status": int(answer.status_code),
            "headers": dict(answer.headers),
            "body": base64.b64encode(answer.body.bytes).decode(),
        }


async def main() -> None:
    """Answer all requests."""
    # What the app prints is not an answer.
    output, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(load_protocol())
    await worker.start()
    answers = [await worker.invoke(number, request) for number, request in enumerate(json.load(sys.stdin))]
    runtime.stop_threadpool_executor()
    json.dump(answers, output)


if __name__ == "__main__":
    asyncio.run(main())
