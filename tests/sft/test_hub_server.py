"""The local Hub of the tests, used by the real client in a process of its own."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.servers.hub import Hub
from tests.support.servers.hub_store import Blob

WEIGHTS = bytes(range(256)) * 64
CLIENT = """
import json, sys
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
api, answer = HfApi(), None
def status(call, *args, **kwargs):
    try:
        return [200, type(call(*args, **kwargs)).__name__]
    except HfHubHTTPError as error:
        return [error.response.status_code, type(error).__name__]
"""
UPLOAD = """
def upload(repo, note=b"one", **kwargs):
    weights = bytes(range(256)) * 64
    files = {"a/weights.safetensors": weights, "note.txt": note}
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    return api.create_commit(repo, operations, commit_message="add", **kwargs).oid
"""


@pytest.fixture
def hub():
    with Hub() as running:
        yield running


def client(hub: Hub, home: Path, token: str | None, code: str):
    """What `code` leaves in `answer`, run with the real client as the owner of `token`."""
    script = f"{CLIENT}{UPLOAD}{code}\nprint(json.dumps(answer))"
    process = subprocess.run(
        [sys.executable, "-c", script],
        env=hub.environment(home, token),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_what_is_committed_comes_back(hub, tmp_path):
    """Only the Hub itself sees the token, never the server of the files."""
    answer = client(
        hub,
        tmp_path,
        "hf_owner",
        """
name = api.whoami()["name"]
api.create_repo("user/a")
first = upload("user/a")
again = upload("user/a")
folder = snapshot_download("user/a")
rows = api.list_repo_tree("user/a", recursive=True)
tree = {row.path: getattr(row, "size", None) for row in rows}
top = sorted(row.path for row in api.list_repo_tree("user/a"))
paths = ("note.txt", "a/weights.safetensors")
read = {path: open(f"{folder}/{path}", "rb").read().hex() for path in paths}
answer = [name, first, again, tree, top, read, api.model_info("user/a").sha]
""",
    )
    name, first, again, tree, top, read, sha = answer
    assert name == "user"
    assert first == again == sha == hub.repo("user/a").branches["main"]
    # The commit of the creation and one more: the second upload changed nothing.
    assert len(hub.repo("user/a").commits) == 2
    assert read == {"note.txt": b"one".hex(), "a/weights.safetensors": WEIGHTS.hex()}
    assert tree["a/weights.safetensors"] == len(WEIGHTS)
    assert top == [".gitattributes", "a", "note.txt"]
    at_cdn = [seen for seen in hub.seen if seen.origin == "cdn"]
    assert {seen.method for seen in at_cdn} >= {"PUT", "GET"}
    assert not any(seen.authorized for seen in at_cdn)
    assert all(seen.authorized for seen in hub.seen if seen.origin == "hub")


@pytest.mark.parametrize(
    ("token", "repo", "expected"),
    [
        ("hf_owner", "user/new", [200, "RepoUrl"]),
        ("hf_owner", "lab/new", [200, "RepoUrl"]),
        ("hf_owner", "user/old", [409, "HfHubHTTPError"]),
        ("hf_reader", "user/new", [403, "HfHubHTTPError"]),
        ("hf_other", "user/new", [403, "HfHubHTTPError"]),
        ("hf_unknown", "user/new", [401, "HfHubHTTPError"]),
        (None, "user/new", [401, "HfHubHTTPError"]),
    ],
)
def test_who_may_create(hub, tmp_path, token, repo, expected):
    hub.store.create("model", "user/old", False, hub.store.accounts["hf_owner"])
    assert client(hub, tmp_path, token, f"answer = status(api.create_repo, {repo!r})") == expected


@pytest.mark.parametrize(
    ("token", "read", "write"),
    [
        ("hf_owner", [200, "ModelInfo"], [200, "str"]),
        ("hf_reader", [200, "ModelInfo"], [403, "HfHubHTTPError"]),
        ("hf_other", [404, "RepositoryNotFoundError"], [404, "RepositoryNotFoundError"]),
        (None, [401, "RepositoryNotFoundError"], [401, "RepositoryNotFoundError"]),
    ],
)
def test_a_private_repository_is_as_good_as_missing_to_others(hub, tmp_path, token, read, write):
    hub.store.create("model", "user/secret", True, hub.store.accounts["hf_owner"])
    code = 'answer = [status(api.model_info, "user/secret"), status(upload, "user/secret")]'
    assert client(hub, tmp_path, token, code) == [read, write]


def test_revisions_pin_and_what_is_not_there_says_so(hub, tmp_path):
    answer = client(
        hub,
        tmp_path,
        "hf_owner",
        """
api.create_repo("user/a")
first = upload("user/a")
api.create_tag("user/a", tag="v1")
second = upload("user/a", b"two")
revisions = ("v1", first, second, "main")
notes = [open(hf_hub_download("user/a", "note.txt", revision=r)).read() for r in revisions]
tags = [[tag.name, tag.target_commit == first] for tag in api.list_repo_refs("user/a").tags]
answer = [notes, tags, [
    status(upload, "user/a", b"three", parent_commit=first),
    status(hf_hub_download, "user/a", "note.txt", revision="v2"),
    status(hf_hub_download, "user/a", "absent.txt"),
    status(hf_hub_download, "user/absent", "note.txt"),
    status(api.create_tag, "user/a", tag="v1"),
]]
""",
    )
    notes, tags, refused = answer
    assert notes == ["one", "one", "two", "two"]
    assert tags == [["v1", True]]
    assert refused == [
        [412, "HfHubHTTPError"],
        [404, "RevisionNotFoundError"],
        [404, "RemoteEntryNotFoundError"],
        [404, "RepositoryNotFoundError"],
        [409, "HfHubHTTPError"],
    ]


def test_the_cdn_takes_only_the_content_it_was_told(hub):
    def put(name: str, data: bytes) -> int:
        order = urllib.request.Request(f"{hub.cdn_url}/objects/{name}", data=data, method="PUT")
        try:
            return urllib.request.urlopen(order, timeout=10).status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    name = Blob(WEIGHTS, lfs=True).sha256
    assert put(name, WEIGHTS[:-1]) == 400
    assert name not in hub.store.objects
    assert put(name, WEIGHTS) == 200
    assert hub.store.objects[name] == WEIGHTS


def test_blob_ids_are_the_true_ones():
    # `printf hello | git hash-object --stdin`; `git lfs pointer` of the same, hashed by git
    assert Blob(b"hello", lfs=False).oid == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert Blob(b"hello", lfs=True).sha256 == sha256
    assert Blob(b"hello", lfs=True).pointer.endswith(b"\nsize 5\n")
