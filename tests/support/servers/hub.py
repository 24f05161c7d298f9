"""A small Hugging Face Hub on loopback, for the real `huggingface_hub` client.

    with Hub() as hub:
        env = hub.environment(tmp_path / "home", token="hf_owner")
        subprocess.run([sys.executable, "-m", "sft.publish", ...], env=env)
        hub.repo("user/name").at("main").files["adapter_config.json"].data

There are two origins, as on the true Hub: the hub itself, and a "CDN" that serves and takes LFS
content without a token. One port would not be enough: the client follows a redirect to the same
host even for HEAD and then misses the commit header. Uploads take the LFS route: xet is another
protocol, switched off by HF_HUB_DISABLE_XET, which the client reads at import. So the client needs
a process of its own with the variables of `environment`. A cached file hides a refusal, so each
account in a test needs a home of its own.

Tokens: "hf_owner" writes as `user` (and org `lab`), "hf_reader" reads as `user`, "hf_other" writes
as `other`.
"""

import os
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.servers.hub_api import ROUTES, Reply, Request
from tests.support.servers.hub_store import Account, Blob, HubError, Repo, Store, stored_as_lfs


@dataclass(frozen=True)
class Seen:
    """One request as it came: which origin, and whether it carried an Authorization header."""

    origin: str
    method: str
    path: str
    status: int
    authorized: bool


@dataclass
class Fault:
    """An answer in place of the true one, for the next `times` requests that it fits.

    Status 0 closes the connection without an answer; with `acts` the request was done before, and
    with `seconds` it comes so late.
    """

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    acts: bool = False
    seconds: float = 0


@dataclass
class Hub:
    """The server, running between `__enter__` and `__exit__` on two free ports of 127.0.0.1."""

    store: Store = field(default_factory=Store)
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __enter__(self) -> "Hub":
        self._servers = {origin: self._serve(origin) for origin in ("hub", "cdn")}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        return self._address("hub")

    @property
    def cdn_url(self) -> str:
        return self._address("cdn")

    def repo(self, repo_id: str, kind: str = "model") -> Repo:
        """A repository as it is, without access rules. Raises KeyError if it does not exist."""
        return self.store.repos[kind, repo_id]

    def add_folder(self, repo_id: str, folder: Path, kind: str = "model") -> str:
        """Put the files of `folder` into a new repository, without a client; return the commit."""
        owner = Account(repo_id.split("/")[0], "write")
        files = {}
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            blob = Blob(data, stored_as_lfs(path.name, len(data), data[:512]))
            if blob.lfs:
                self.store.objects[blob.sha256] = data
            files[path.relative_to(folder).as_posix()] = blob
        repo = self.store.create(kind, repo_id, False, owner)
        return repo.add_commit("main", files, "add folder", owner.name).oid

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """The environment of a client process that knows this hub alone.

        `home` holds its cache and its token file.
        """
        foreign = ("HF_", "HUGGING")
        inherited = {name: v for name, v in os.environ.items() if not name.startswith(foreign)}
        own = {
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        return {**inherited, **own, **({"HF_TOKEN": token} if token else {})}

    def _address(self, origin: str) -> str:
        return f"http://127.0.0.1:{self._servers[origin].server_port}"

    def _serve(self, origin: str) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self, "origin": origin})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    origin: str

    def _answer(self) -> None:
        # Read even if the request is refused: the rest would be taken for the next request.
        body = self._body()
        with self.hub.store.lock:
            fault = self._fault()
        if fault and fault.seconds:
            time.sleep(fault.seconds)
        if fault and not fault.status and not fault.acts:
            self._hang_up()
            return
        try:
            with self.hub.store.lock:
                if fault and fault.status:
                    reply = Reply.of_json({"error": "fault"}, fault.status, fault.headers)
                else:
                    reply = self._route(body)
        except HubError as error:
            headers = {"X-Error-Message": error.message}
            if error.code:
                headers["X-Error-Code"] = error.code
            reply = Reply.of_json({"error": error.message, **error.body}, error.status, headers)
        authorized = "Authorization" in self.headers
        self.hub.seen.append(Seen(self.origin, self.command, self.path, reply.status, authorized))
        if fault and not fault.status:
            self._hang_up()
        else:
            self._send(reply)

    def _fault(self) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times and fault.method == self.command and re.search(fault.path, self.path):
                fault.times -= 1
                return fault
        return None

    def _hang_up(self) -> None:
        self.hub.seen.append(Seen(self.origin, self.command, self.path, 0, False))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _route(self, body: bytes) -> Reply:
        split = urlsplit(self.path)
        for origin, methods, pattern, action in ROUTES:
            match = re.fullmatch(pattern, split.path)
            if match and origin == self.origin and self.command in methods.split():
                query = {name: values[-1] for name, values in parse_qs(split.query).items()}
                path = {name: unquote(value or "") for name, value in match.groupdict().items()}
                account = self.hub.store.account(self._token()) if origin == "hub" else None
                return action(Request(self.hub.store, self.hub, account, path, query, body))
        raise HubError(404, "", f"no route for {self.command} {split.path} on {self.origin}")

    def _token(self) -> str | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Requests are kept in `Hub.seen` and not printed."""
