"""The Hub's routes, as the `huggingface_hub` client calls them: one function per route."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs

from tests.support.servers.hub_store import (
    Account,
    Blob,
    HubError,
    Repo,
    Store,
    may_write,
    stored_as_lfs,
)


class Origins(Protocol):
    """Where the two origins listen."""

    @property
    def url(self) -> str: ...
    @property
    def cdn_url(self) -> str: ...


@dataclass(frozen=True)
class Request:
    """One request: who asks, the parts of the path, the query and the body."""

    store: Store
    origins: Origins
    account: Account | None
    path: dict[str, str]
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")

    @property
    def kind(self) -> str:
        """The repository's kind: "models" or "datasets/" in a path, or nothing for a model."""
        return self.path.get("kind", "").rstrip("/").removesuffix("s") or "model"

    def readable(self) -> Repo:
        return self.store.readable(self.kind, self.path["id"], self.account)

    def writable(self) -> Repo:
        return self.store.writable(self.kind, self.path["id"], self.account)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(
        cls, value: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> "Reply":
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        return cls(status, json.dumps(value).encode(), all_headers)


def whoami(request: Request) -> Reply:
    account = request.account
    if account is None:
        raise HubError(401, "", "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in account.orgs]
    token = {"displayName": "test", "role": account.role}
    auth = {"type": "access_token", "accessToken": token}
    return Reply.of_json({"type": "user", "name": account.name, "orgs": orgs, "auth": auth})


def create_repo(request: Request) -> Reply:
    order = request.json
    owner = order.get("organization") or (request.account.name if request.account else "")
    kind, repo_id = order.get("type") or "model", f"{owner}/{order['name']}"
    url = f"{request.origins.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
    try:
        request.store.create(kind, repo_id, order.get("visibility") == "private", request.account)
    except KeyError:
        # With exist_ok the client takes the address from this refusal.
        message = f"You already created this {kind} repo: {repo_id}"
        raise HubError(409, "", message, url=url) from None
    return Reply.of_json({"url": url, "name": repo_id})


def validate_yaml(request: Request) -> Reply:
    """Only whether there is a metadata block: the client parses it itself."""
    has_block = re.match(r"---\n.*?\n---\n", request.json["content"], re.DOTALL)
    warnings = [] if has_block else [{"message": "empty or missing yaml metadata in repo card"}]
    return Reply.of_json({"errors": [], "warnings": warnings})


def repo_info(request: Request) -> Reply:
    repo = request.readable()
    commit = repo.at(request.path["revision"] or "main")
    facts = {
        "id": repo.id,
        "author": repo.id.split("/")[0],
        "private": repo.private,
        "gated": False,
        "tags": [],
    }
    siblings = [{"rfilename": path} for path in sorted(commit.files)]
    return Reply.of_json(
        {**facts, "sha": commit.oid, "lastModified": commit.date, "siblings": siblings}
    )


def preupload(request: Request) -> Reply:
    files = request.writable().at(request.path["revision"]).files
    answers = []
    for file in request.json["files"]:
        lfs = stored_as_lfs(file["path"], file["size"], base64.b64decode(file["sample"]))
        answer = {
            "path": file["path"],
            "uploadMode": "lfs" if lfs else "regular",
            "shouldIgnore": False,
        }
        present = files.get(file["path"])
        if present:
            answer["oid"] = present.sha256 if present.lfs else present.oid
        answers.append(answer)
    return Reply.of_json({"files": answers})


def lfs_batch(request: Request) -> Reply:
    request.writable()
    repository = f"{request.origins.url}/{request.path['kind']}{request.path['id']}.git"
    verify = f"{repository}/info/lfs/objects/verify"
    objects = []
    for wanted in request.json["objects"]:
        answer = dict(wanted)
        if wanted["oid"] not in request.store.objects:
            upload = f"{request.origins.cdn_url}/objects/{wanted['oid']}"
            answer["actions"] = {
                "upload": {"href": upload, "header": {}},
                "verify": {"href": verify},
            }
        objects.append(answer)
    return Reply.of_json({"transfer": "basic", "objects": objects})


def lfs_verify(request: Request) -> Reply:
    request.writable()
    content = request.store.objects.get(request.json["oid"])
    if content is None or len(content) != request.json["size"]:
        raise HubError(422, "", f"object {request.json['oid']} is not here in that size")
    return Reply.of_json({})


def cdn_put(request: Request) -> Reply:
    blob = Blob(request.body, lfs=True)
    if blob.sha256 != request.path["oid"]:
        raise HubError(400, "", f"content is {blob.sha256}, not {request.path['oid']}")
    request.store.objects[blob.sha256] = blob.data
    return Reply()


def cdn_get(request: Request) -> Reply:
    if request.path["oid"] not in request.store.objects:
        raise HubError(404, "", "no such object")
    oid = request.path["oid"]
    return Reply(200, request.store.objects[oid], {"ETag": f'"{oid}"'})


def commit(request: Request) -> Reply:
    repo, branch = request.writable(), request.path["revision"]
    rows = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = next(row["value"] for row in rows if row["key"] == "header")
    parent = repo.at(branch)
    if header.get("parentCommit", parent.oid) != parent.oid:
        raise HubError(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(parent.files)
    for row in rows:
        _apply(row["key"], row["value"], files, request.store.objects)
    author = may_write(repo.id, request.account)
    oid = repo.add_commit(branch, files, header["summary"], author.name).oid
    url = f"{request.origins.url}/{repo.id}/commit/{oid}"
    return Reply.of_json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


def _apply(
    key: str, value: dict[str, Any], files: dict[str, Blob], objects: Mapping[str, bytes]
) -> None:
    """Do one line of a commit to `files`, in place."""
    if key == "file":
        files[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in objects:
            raise HubError(400, "", f"{value['path']}: LFS object {value['oid']} was not uploaded")
        files[value["path"]] = Blob(objects[value["oid"]], lfs=True)
    elif key in ("deletedFile", "deletedFolder"):
        name = value["path"].rstrip("/")
        deleted = [path for path in files if path == name or path.startswith(f"{name}/")]
        if not deleted:
            raise HubError(404, "EntryNotFound", "A file with this name doesn't exist")
        for path in deleted:
            del files[path]


def tree(request: Request) -> Reply:
    files = request.readable().at(request.path["revision"]).files
    folder = f"{request.path['folder'].strip('/')}/" if request.path["folder"].strip("/") else ""
    inside = {path: blob for path, blob in files.items() if path.startswith(folder)}
    if folder and not inside:
        raise HubError(404, "EntryNotFound", f"no folder {folder}")
    flat = request.query.get("recursive", "").lower() not in ("1", "true")
    rows = [
        blob.listing(path)
        for path, blob in inside.items()
        if not (flat and "/" in path[len(folder) :])
    ]
    return Reply.of_json([*_folders(inside, folder, flat), *rows])


def paths_info(request: Request) -> Reply:
    files = request.readable().at(request.path["revision"]).files
    wanted = json.loads(request.body)["paths"] if request.body[:1] == b"{" else _form(request.body)
    return Reply.of_json([files[path].listing(path) for path in wanted if path in files])


def _form(body: bytes) -> list[str]:
    return parse_qs(body.decode()).get("paths", [])


def auth_check(request: Request) -> Reply:
    """Whether the account may read the files, or write with `/write` at the end."""
    if request.path["write"]:
        request.writable()
    else:
        request.readable()
    return Reply.of_json({})


def _folders(paths: Iterable[str], folder: str, flat: bool) -> list[dict[str, Any]]:
    parents = {path[: match.start()] for path in paths for match in re.finditer("/", path)}
    below = sorted(path for path in parents if path.startswith(folder))
    shown = [path for path in below if not (flat and "/" in path[len(folder) :])]
    return [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in shown]


def refs(request: Request) -> Reply:
    repo = request.readable()
    return Reply.of_json(
        {
            "branches": _refs("heads", repo.branches),
            "tags": _refs("tags", repo.tags),
            "converts": [],
        }
    )


def _refs(folder: str, commits: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": oid}
        for name, oid in commits.items()
    ]


def tag(request: Request) -> Reply:
    repo, name = request.writable(), request.json["tag"]
    if name in repo.tags:
        raise HubError(409, "", f"Tag {name} already exists")
    repo.tags[name] = repo.at(request.path["revision"]).oid
    return Reply.of_json({})


def resolve(request: Request) -> Reply:
    """A file's content; LFS content by a redirect to the other origin."""
    at_commit, blob = request.readable().file(request.path["revision"], request.path["file"])
    headers = {"X-Repo-Commit": at_commit.oid}
    if not blob.lfs:
        return Reply(200, blob.data, {**headers, "ETag": f'"{blob.oid}"'})
    headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
    headers["Location"] = f"{request.origins.cdn_url}/objects/{blob.sha256}"
    return Reply(302, b"", headers)


_ID = r"(?P<id>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_ID}"
_GIT = rf"/(?P<kind>datasets/|spaces/)?{_ID}"
_AT = r"(?P<revision>[^/]+)"

ROUTES: list[tuple[str, str, str, Callable[[Request], Reply]]] = [
    ("hub", "GET", "/api/whoami-v2", whoami),
    ("hub", "POST", "/api/repos/create", create_repo),
    ("hub", "POST", "/api/validate-yaml", validate_yaml),
    ("hub", "GET", rf"{_API}(?:/revision/{_AT})?", repo_info),
    ("hub", "GET", rf"{_API}/auth-check(?P<write>/write)?", auth_check),
    ("hub", "POST", rf"{_API}/paths-info/{_AT}", paths_info),
    ("hub", "POST", rf"{_API}/preupload/{_AT}", preupload),
    ("hub", "POST", rf"{_API}/commit/{_AT}", commit),
    ("hub", "GET", rf"{_API}/tree/{_AT}(?P<folder>/.*)?", tree),
    ("hub", "GET", rf"{_API}/refs", refs),
    ("hub", "POST", rf"{_API}/tag/{_AT}", tag),
    ("hub", "POST", rf"{_GIT}\.git/info/lfs/objects/batch", lfs_batch),
    ("hub", "POST", rf"{_GIT}\.git/info/lfs/objects/verify", lfs_verify),
    ("hub", "GET HEAD", rf"{_GIT}/resolve/{_AT}/(?P<file>.+)", resolve),
    ("cdn", "PUT", r"/objects/(?P<oid>[0-9a-f]{64})", cdn_put),
    ("cdn", "GET HEAD", r"/objects/(?P<oid>[0-9a-f]{64})", cdn_get),
]
