"""What a model hub keeps: accounts, repositories, commits and blobs. No HTTP here.

Blob ids are the true ones, git's SHA-1 and LFS's SHA-256: the client compares them with its own to
leave out files that have not changed.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

LFS_FROM = 10 * 1024 * 1024
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".parquet", ".arrow", ".pt")
FIRST_FILES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}


class HubError(Exception):
    """An answer that is an error: status, X-Error-Code (may be empty), X-Error-Message, body."""

    def __init__(self, status: int, code: str, message: str, **body: str):
        super().__init__(message)
        self.status, self.code, self.message, self.body = status, code, message, body


@dataclass(frozen=True)
class Account:
    """The owner of a token, and what the token may do: "write" or "read"."""

    name: str
    role: str
    orgs: tuple[str, ...] = ()

    def owns(self, repo_id: str) -> bool:
        return repo_id.split("/")[0] in (self.name, *self.orgs)


@dataclass(frozen=True)
class Blob:
    """One file's content; `lfs` says how it is stored, which decides its id."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """Git's blob id: of the content, or of the pointer file that stands for it."""
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def pointer(self) -> bytes:
        head = "version https://git-lfs.github.com/spec/v1\n"
        return f"{head}oid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    def listing(self, path: str) -> dict:
        """This file as the tree and paths-info routes describe it."""
        row = {"type": "file", "path": path, "oid": self.oid, "size": len(self.data)}
        if self.lfs:
            row["lfs"] = {
                "oid": self.sha256,
                "size": len(self.data),
                "pointerSize": len(self.pointer),
            }
        return row


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    author: str
    date: str
    files: dict[str, Blob]


@dataclass
class Repo:
    """One repository. `kind` is "model", "dataset" or "space"; refs map a name to a commit id."""

    kind: str
    id: str
    private: bool
    gated: bool = False
    """Readable only for its owner, as if nobody else had accepted its licence."""
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a full commit id. Raises HubError 404."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def file(self, revision: str, path: str) -> tuple[Commit, Blob]:
        """A commit and one of its files. Raises HubError 404."""
        commit = self.at(revision)
        if path not in commit.files:
            raise HubError(404, "EntryNotFound", f"Entry not found: {path}")
        return commit, commit.files[path]

    def add_commit(self, branch: str, files: dict[str, Blob], title: str, author: str) -> Commit:
        """Make `files` the whole content of `branch`."""
        parent = self.branches.get(branch)
        content = "".join(f"{path}\0{blob.oid}\n" for path, blob in sorted(files.items()))
        text = f"{self.kind} {self.id} {len(self.commits)} {parent} {title}\n{content}"
        commit = Commit(
            hashlib.sha1(text.encode()).hexdigest(),
            parent,
            title,
            author,
            f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            files,
        )
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit


class Store:
    """All accounts, repositories and uploaded LFS objects, and who may see and write them."""

    def __init__(self) -> None:
        self.accounts = {
            "hf_owner": Account("user", "write", orgs=("lab",)),
            "hf_reader": Account("user", "read", orgs=("lab",)),
            "hf_other": Account("other", "write"),
        }
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.lock = threading.RLock()

    def account(self, token: str | None) -> Account | None:
        """The account of a bearer token, None without one. Raises HubError 401 if it is unknown."""
        if token is None:
            return None
        if token not in self.accounts:
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return self.accounts[token]

    def readable(self, kind: str, repo_id: str, account: Account | None) -> Repo:
        """A repository that `account` may read.

        Raises HubError: one that is missing and one that is private look alike, 401 without a token
        and 404 with one. A gated one says so: 401 without a token and 403 with one.
        """
        repo = self.repos.get((kind, repo_id))
        if repo is None or (repo.private and not (account and account.owns(repo_id))):
            raise HubError(404 if account else 401, "RepoNotFound", "Repository not found")
        if repo.gated and not (account and account.owns(repo_id)):
            message = f"Access to model {repo_id} is restricted"
            raise HubError(403 if account else 401, "GatedRepo", message)
        return repo

    def writable(self, kind: str, repo_id: str, account: Account | None) -> Repo:
        """A repository that `account` may write to. Raises HubError 401, 403 or 404."""
        repo = self.readable(kind, repo_id, account)
        may_write(repo_id, account)
        return repo

    def create(self, kind: str, repo_id: str, private: bool, account: Account | None) -> Repo:
        """A new repository with its first commit.

        Raises HubError 401 or 403, and KeyError if it exists.
        """
        author = may_write(repo_id, account)
        if (kind, repo_id) in self.repos:
            raise KeyError(repo_id)
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        files = {path: Blob(data, lfs=False) for path, data in FIRST_FILES.items()}
        repo.add_commit("main", files, "initial commit", author.name)
        return repo


def may_write(repo_id: str, account: Account | None) -> Account:
    """The account, if it may write to `repo_id`. Raises HubError 401 or 403."""
    if account is None:
        raise HubError(401, "", "Invalid username or password.")
    if account.role != "write":
        raise HubError(403, "", "This token has read access only; a write token is needed")
    if not account.owns(repo_id):
        namespace = repr(repo_id.split("/")[0])
        message = f"You don't have the rights to create a model under the namespace {namespace}"
        raise HubError(403, "", message)
    return account


def stored_as_lfs(path: str, size: int, sample: bytes) -> bool:
    """Whether a file goes to LFS: known weights and data, large files, and anything binary."""
    return path.endswith(LFS_SUFFIXES) or size >= LFS_FROM or b"\0" in sample
