"""A teacher on loopback: an OpenAI-compatible server that answers from the request alone.

    with Teacher(faults={"NOVA-2031-01-05": ["status 500", "wrong bin"]}) as teacher:
        command = [sys.executable, "-m", "data_pipeline.teacher", ...]
        subprocess.run(command, env=teacher.environment())
        teacher.asked, teacher.delivered

`python -m tests.support.servers.teacher --latency 0.3 --log FILE` runs it in a process of its own;
it prints its address, and appends a line to FILE for every request that came and for every answer
that was sent whole, with the time.

A fault is for requests that hold its text ("" is in all of them). Each fault of a list serves one
request; the last one serves all later ones too if it ends in " always", and one that begins with
"first " leaves second questions alone. Faults: "status N", "status N retry-after S", "hang up",
"cut body", "broken json", "page", "slow body", "empty", "wrong bin", "unparsable", "length",
"betrayal", "no usage", "thinking". The message of a status quotes the Authorization header, as
careless servers do.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

BINS = [
    f"{way} by {step}"
    for way in ("Up", "Down")
    for step in ("0-1%", "1-2%", "2-3%", "3-4%", "4-5%", "more than 5%")
]
_NAMED_BIN = re.compile(r'Prediction: ((?:Up|Down) by (?:\d-\d%|more than 5%))"')
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
}


@dataclass
class Teacher:
    """The server, running between `__enter__` and `__exit__` on a free port of 127.0.0.1."""

    latency: float = 0.0
    faults: dict[str, list[str]] = field(default_factory=dict)
    log: str | None = None
    port: int = 0
    asked: list[dict] = field(default_factory=list)
    """The bodies of all chat completion requests, in the order they came."""
    delivered: list[str] = field(default_factory=list)
    """The keys (SHA-256 of the body) whose answer was written whole to a connection that was
    open.
    """
    respond: Callable[[dict, dict], bytes | None] | None = None
    """Takes a request and the good completion; what it returns is sent as the whole HTTP response
    (see `http`), None for the usual answer.
    """
    authorization: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0

    def __enter__(self) -> "Teacher":
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self.start())
            started.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def environment(self, key: str | None = "test-key") -> dict[str, str]:
        """Environment of a client process that knows this teacher alone."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")
        }
        own = {"OPENAI_BASE_URL": self.url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return {**inherited, **own, **({"OPENAI_API_KEY": key} if key else {})}

    async def start(self) -> None:
        self._connections: set[asyncio.Task] = set()
        self._server = await asyncio.start_server(
            self._connection, "127.0.0.1", self.port, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode("latin-1").strip().split("\r\n")
                headers = {
                    name.lower(): value for name, value in (text.split(": ", 1) for text in lines)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.authorization.add(headers.get("authorization", ""))
                if not await self._respond(line.split()[1], body, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(
        self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False if the connection is to be closed after it."""
        if path == "/v1/models":
            model = {"id": "loopback", "object": "model", "created": 0, "owned_by": "us"}
            content = json.dumps({"object": "list", "data": [model]}).encode()
            writer.write(_head(200, len(content)) + content)
            return True
        if path != "/v1/chat/completions":
            writer.write(_head(404, 0))
            return True
        request = json.loads(body)
        key = key_of(request)
        self.asked.append(request)
        self._write_log("asked", key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.at_once -= 1
        if self.respond:
            raw = self.respond(request, completion(request, answer_to(request), "stop"))
            if raw is not None:
                writer.write(raw)
                await writer.drain()
                return b"connection: close" not in raw
        fault = self._fault(json.dumps(request, ensure_ascii=False))
        if fault.startswith("first "):
            fault = "" if len(request["messages"]) > 2 else fault.removeprefix("first ")
        if fault.startswith("status"):
            _, status, *retry = fault.split()
            message = f"fault of status {status} for {max(self.authorization)}"
            content = json.dumps({"error": {"message": message, "code": None}}).encode()
            extra = f"retry-after: {retry[1]}\r\n" if retry else "retry-after-ms: 1\r\n"
            writer.write(_head(int(status), len(content), extra) + content)
            return True
        return await self._deliver(request, key, fault, reader, writer)

    async def _deliver(
        self,
        request: dict,
        key: str,
        fault: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if fault == "hang up":
            return False
        text = answer_to(request, fault)
        answer = completion(request, text, "length" if fault == "length" else "stop")
        if fault == "no usage":
            del answer["usage"]
        content = json.dumps(answer).encode()
        if fault == "broken json":
            content = content[: len(content) // 2]
        if fault == "page":
            content = b"<html>the gateway is tired</html>"
        kind = "text/html" if fault == "page" else "application/json"
        head = _head(200, len(content), f"content-type: {kind}\r\n")
        half = len(content) // 2
        if fault == "cut body":
            writer.write(head + content[:half])
            return False
        if fault == "slow body":
            writer.write(head + content[:half])
            await writer.drain()
            await asyncio.sleep(0.5)
            head, content = b"", content[half:]
        writer.write(head + content)
        await writer.drain()
        if not writer.is_closing() and not reader.at_eof():
            self.delivered.append(key)
            self._write_log("delivered", key)
        return True

    def _fault(self, text: str) -> str:
        for part, faults in self.faults.items():
            if part in text and faults:
                if faults[0].endswith(" always"):
                    return faults[0].removesuffix(" always")
                return faults.pop(0)
        return ""

    def _write_log(self, event: str, key: str) -> None:
        if self.log:
            with Path(self.log).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "key": key, "at": time.monotonic()}) + "\n")


def _head(status: int, length: int, extra: str = "") -> bytes:
    kind = "" if "content-type" in extra else "content-type: application/json\r\n"
    reason = _REASONS.get(status, "Fault")
    return f"HTTP/1.1 {status} {reason}\r\n{kind}{extra}content-length: {length}\r\n\r\n".encode()


def http(body: object, status: int = 200, headers: str = "", length: int | None = None) -> bytes:
    """A whole HTTP response; a body that is not bytes is sent as JSON, with NaN and surrogates."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _head(status, len(content) if length is None else length, headers) + content


def key_of(request: dict) -> str:
    """The SHA-256 of a request as canonical JSON, computed here without the project's own
    function.
    """
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def answer_to(request: dict, fault: str = "") -> str:
    """A well-formed answer for the bin that the prompt tells, else for one drawn from the
    prompt; or a bad one.
    """
    asked = request["messages"][1]["content"]
    named = _NAMED_BIN.findall(asked)
    number = int(hashlib.sha256(asked.encode()).hexdigest(), 16)
    prediction = named[-1] if named else BINS[number % len(BINS)]
    if fault == "wrong bin":
        prediction = BINS[(BINS.index(prediction) + 1) % len(BINS)]
    analysis = f"On balance the reports of case {number % 10**6} speak for this move."
    if fault == "betrayal":
        analysis += " As we know, the week ended so."
    text = (
        "[Positive Developments]:\n1. Orders grew.\n2. Costs fell.\n\n"
        "[Potential Concerns]:\n1. A rival cut prices.\n\n"
        f"[Prediction & Analysis]:\nPrediction: {prediction}\nAnalysis: {analysis}"
    )
    text = {
        "empty": "",
        "unparsable": "I cannot say.",
        "thinking": f"<think>\nHm.\n</think>\n\n{text}",
    }.get(fault, text)
    return text[:-20] if fault == "length" else text


def completion(request: dict, text: str, finish_reason: str) -> dict:
    """A chat completion object; a token is four characters."""
    sizes = [sum(len(turn["content"]) for turn in request["messages"]) // 4, len(text) // 4]
    return {
        "id": f"chatcmpl-{key_of(request)[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            },
        ],
        "usage": {
            "prompt_tokens": sizes[0],
            "completion_tokens": sizes[1],
            "total_tokens": sum(sizes),
        },
    }


async def _serve(teacher: Teacher) -> None:
    await teacher.start()
    print(teacher.url, flush=True)
    await asyncio.Event().wait()


def main() -> int:
    """Serve until killed; the first line of the output is the address."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument(
        "--faults",
        type=json.loads,
        default={},
        help="JSON object: text in the request -> list of faults",
    )
    parser.add_argument("--log")
    args = parser.parse_args()
    asyncio.run(_serve(Teacher(args.latency, args.faults, args.log, args.port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
