"""A W&B server on loopback that keeps runs, their files and their artifacts, for the real client.

The client's queries are told apart by the name of their operation; the answers hold every field
that one of them asks for. What was stored is read back through `wandb.Api`.
"""

import base64
import hashlib
import json
import re
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tests.support.servers.wandb_graphql import VIEWER

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = VIEWER["entity"]
_TIME = "2026-01-01T00:00:00Z"
_LAST_PAGE = {"endCursor": None, "hasNextPage": False}


class RunServer(ThreadingHTTPServer):
    """`runs` by name, `artifacts` by id, `blobs` by address; `asked` counts operations.

    `failing` maps a part of an operation's name or of a path to the status that it gets; requests
    wait while `hanging` is not set. `errors` lists what this server could not answer: a test ends
    with an empty one.
    """

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.runs, self.artifacts, self.blobs = {}, {}, {}
        self.asked = defaultdict(int)
        self.errors = []
        self.failing = {}
        self.hanging = threading.Event()
        self.hanging.set()
        self.lock = threading.RLock()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self):
        """The variables with which the client finds this server."""
        return {"WANDB_BASE_URL": self.address, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def fault(self, what):
        """The status with which a request fails, if it is told to; waits while `hanging`."""
        self.asked[what] += 1
        self.hanging.wait(60)
        return next((status for part, status in self.failing.items() if part in what), None)

    def committed(self, kind):
        """The artifacts of a type that are whole, in the order of their versions."""
        return [
            artifact
            for artifact in self.artifacts.values()
            if artifact["artifactType"]["name"] == kind and artifact["state"] == "COMMITTED"
        ]

    def answer(self, operation, variables):
        """The data of a GraphQL answer. Unknown operations fail a test loudly."""
        with self.lock:
            return getattr(self, f"_{operation}")(variables)

    # Who and what

    def _Viewer(self, _):
        return {"viewer": VIEWER}

    _GetViewer = _GetDefaultEntity = _Viewer

    def _ServerFeaturesQuery(self, _):
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, _):
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _XXHashDigestsEnabled(self, _):
        return {"entity": {"settings": {"xxhashDigestsEnabled": False}}}

    def _FetchArtifactDigestAlgorithm(self, _):
        return {"project": {"artifactType": None}}

    def _IsProjectReadOnly(self, _):
        return {"project": {"readOnly": False}}

    # Runs

    def _run(self, variables):
        name = variables.get("name") or variables.get("run") or variables.get("runName")
        return self.runs.get(name)

    def _UpsertBucket(self, variables):
        name = variables.get("name")
        if name is None:  # the public API changes a run by its id
            name = next(run["name"] for run in self.runs.values() if run["id"] == variables["id"])
        is_new = name not in self.runs
        run = self.runs.setdefault(name, _new_run(name, len(self.runs) + 1))
        for key in ("displayName", "jobType", "config", "tags", "notes", "state", "sweep"):
            if variables.get(key) is not None:
                run[key] = variables[key]
        run["project"]["name"] = variables.get("project") or run["project"]["name"]
        return {"upsertBucket": {"bucket": _shown(run), "inserted": is_new}}

    def _RunResumeStatus(self, variables):
        run = self._run(variables)
        project = {"id": "p1", "name": variables["project"], "entity": {"id": "e1", "name": ENTITY}}
        if run is None:
            return {"model": {**project, "bucket": None}}
        bucket = {
            **_shown(run),
            "logLineCount": len(run["output"]),
            "eventsLineCount": len(run["events"]),
            "historyTail": json.dumps([json.dumps(row) for row in run["history"][-1:]]),
            "eventsTail": json.dumps([json.dumps(row) for row in run["events"][-1:]]),
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {**project, "bucket": bucket}}

    def _RunStoppedStatus(self, _):
        return {"project": {"run": {"stopped": False}}}

    def _NotifyScriptableRunAlert(self, _):
        return {"notifyScriptableRunAlert": {"success": True}}

    def _CreateRunFiles(self, variables):
        name = variables["run"]
        files = [
            {"name": file, "uploadUrl": f"{self.address}/run/{name}/{file}", "directUrl": ""}
            for file in variables["files"]
        ]
        return {"createRunFiles": {"runID": name, "uploadHeaders": [], "files": files}}

    def _MarkRunFilesUploaded(self, _):
        return {"markRunFilesUploaded": {"success": True}}

    def _Run(self, variables):
        run = self._run(variables)
        return {"project": {"internalId": _internal("1"), "run": run and _shown(run)}}

    def _RunState(self, variables):
        return {"project": {"run": {"state": self._run(variables)["state"]}}}

    def _Runs(self, _):
        runs = list(self.runs.values())
        edges = [{"node": _shown(run), "cursor": run["id"]} for run in runs]
        pages = {"edges": edges, "pageInfo": _LAST_PAGE}
        project = {"internalId": _internal("1"), "readOnly": False, "runCount": len(runs)}
        return {"project": {**project, "runs": pages}}

    def _RunHistoryKeys(self, variables):
        return {"project": {"run": {"historyKeys": _keys(self._run(variables))}}}

    def _RunFullHistory(self, variables):
        run = self._run(variables)
        rows = {
            stream: [json.dumps(row) for row in run[stream]] for stream in ("history", "events")
        }
        return {"project": {"run": rows}}

    def _RunParquetHistory(self, variables):
        rows = _rows(self._run(variables))
        live = [{"_step": rows[-1]["_step"]}] if rows else []
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": live}}}}

    def _HistoryPage(self, variables):
        low, high = int(variables["minStep"]), int(variables["maxStep"])
        rows = [row for row in _rows(self._run(variables)) if low <= row["_step"] < high]
        return {"project": {"run": {"history": [json.dumps(row) for row in rows]}}}

    def _RunFiles(self, variables):
        run = self._run(variables)
        wanted = variables.get("fileNames") or list(run["files"])
        edges = [
            {"node": self._file(run, name), "cursor": name}
            for name in run["files"]
            if name in wanted
        ]
        files = {"edges": edges, "pageInfo": _LAST_PAGE}
        shown = {"fileCount": len(run["files"]), "files": files}
        return {"project": {"internalId": _internal("1"), "run": shown}}

    def _file(self, run, name):
        content = run["files"][name]
        url = f"{self.address}/run/{run['name']}/{name}"
        facts = {"id": name, "name": name, "url": url, "directUrl": url, "mimetype": "text/plain"}
        digest = {"md5": _md5(content), "digest": _md5(content), "updatedAt": _TIME}
        return {**facts, **digest, "sizeBytes": len(content)}

    # Artifacts

    def _ArtifactType(self, variables):
        found = self._versions(variables["name"].partition(":")[0])
        artifact = {"artifactType": found[0]["artifactType"]} if found else None
        return {"project": {"artifact": artifact}}

    def _CreateArtifact(self, variables):
        asked = variables["input"]
        name = asked["artifactCollectionName"]
        versions = self._versions(name)
        same = [each for each in versions if each["digest"] == asked["digest"]]
        latest = [each for each in versions if each["state"] == "COMMITTED"][-1:]
        artifact = same[0] if same else self._new_artifact(asked, name, len(versions))
        self._name(artifact, [alias["alias"] for alias in asked.get("aliases") or []])
        run = self.runs.get(asked.get("runName"))  # none: it is the input of a run
        if run and artifact["id"] not in run["outputs"]:
            run["outputs"].append(artifact["id"])
        sequence = {"latestArtifact": {"id": latest[0]["id"]} if latest else None}
        shown = {"id": artifact["id"], "state": artifact["state"], "artifactSequence": sequence}
        return {"createArtifact": {"artifact": shown}}

    def _new_artifact(self, asked, name, version):
        number = f"artifact-{len(self.artifacts) + 1}"
        project = _project(asked["projectName"])
        sequence = {"__typename": "ArtifactSequence", "name": name, "project": project}
        artifact = {
            "__typename": "Artifact",
            "id": number,
            "artifactSequence": sequence,
            "versionIndex": version,
            "artifactType": {"name": asked["artifactTypeName"]},
            "state": "PENDING",
            "digest": asked["digest"],
            "digestAlgorithm": "MANIFEST_MD5",
            "description": asked.get("description"),
            "metadata": asked.get("metadata"),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "size": 0,
            "commitHash": None,
            "fileCount": 0,
            "createdAt": _TIME,
            "updatedAt": None,
            "aliases": [],
            "client": asked.get("clientID"),
            "creator": asked.get("runName"),
            "manifest": None,
        }
        self.artifacts[number] = artifact
        return artifact

    def _versions(self, name):
        return [
            each for each in self.artifacts.values() if each["artifactSequence"]["name"] == name
        ]

    def _name(self, artifact, aliases):
        """An alias belongs to one version at a time."""
        sequence = artifact["artifactSequence"]
        for each in self._versions(sequence["name"]):
            each["aliases"] = [old for old in each["aliases"] if old["alias"] not in aliases]
        collection = {**sequence, "__typename": "ArtifactSequence"}
        artifact["aliases"] += [
            {
                "__typename": "ArtifactAlias",
                "id": alias,
                "alias": alias,
                "artifactCollection": collection,
            }
            for alias in aliases
        ]

    def _CreateArtifactManifest(self, variables):
        artifact = self.artifacts[variables["artifactID"]]
        path = f"{self.address}/blob/manifest-{artifact['id']}"
        artifact["manifest"] = path
        file = {"id": f"manifest-{artifact['id']}", "uploadUrl": path, "uploadHeaders": []}
        manifest = {"id": f"manifest-{artifact['id']}", "file": file}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _UpdateArtifactManifest(self, variables):
        number = variables["artifactManifestID"]
        file = {"id": number, "uploadUrl": f"{self.address}/blob/{number}", "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": number, "file": file}}}

    def _CreateArtifactFiles(self, variables):
        edges = []
        for spec in variables["input"]["artifactFiles"]:
            digest = base64.b64decode(spec["md5"]).hex()
            url = f"{self.address}/blob/{digest}"
            known = f"/blob/{digest}" in self.blobs
            node = {
                "storagePath": f"wandb_artifacts/1/1/{digest}",
                "uploadUrl": None if known else url,
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": spec["artifactID"]},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, variables):
        artifact = self.artifacts[variables["artifactID"]]
        entries = self._entries(artifact)
        missing = [
            name
            for name, entry in entries.items()
            if "ref" not in entry and _blob(entry) not in self.blobs
        ]
        assert not missing, f"committed without the bytes of {missing}"
        artifact["state"] = "COMMITTED"
        artifact["fileCount"] = len(entries)
        artifact["size"] = sum(entry.get("size", 0) for entry in entries.values())
        return {
            "commitArtifact": {"artifact": {"id": artifact["id"], "digest": artifact["digest"]}}
        }

    def _entries(self, artifact):
        manifest = self.blobs[artifact["manifest"].removeprefix(self.address)]
        return json.loads(manifest)["contents"]

    def contents(self, artifact):
        """The files of an artifact: name -> bytes, or the address of what is kept elsewhere."""
        return {
            name: entry.get("ref") or self.blobs[_blob(entry)]
            for name, entry in self._entries(artifact).items()
        }

    def _ClientIDMapping(self, variables):
        found = [a["id"] for a in self.artifacts.values() if a["client"] == variables["clientID"]]
        return {"clientIDMapping": {"serverID": found[0]} if found else None}

    def _UseArtifact(self, variables):
        asked = variables.get("input") or variables  # wandb-core's form, and the public API's
        inputs = self.runs[asked["runName"]]["inputs"]
        if asked["artifactID"] not in inputs:
            inputs.append(asked["artifactID"])
        return {"useArtifact": {"artifact": {"id": asked["artifactID"]}}}

    def _ArtifactByID(self, variables):
        return {"artifact": self.artifacts[variables["id"]]}

    def _ArtifactMembershipByName(self, variables):
        name, _, alias = variables["name"].partition(":")
        found = [each for each in self._versions(name) if _is(each, alias)]
        member = _membership(found[0]) if found else None
        return {"project": {"artifactCollectionMembership": member}}

    def _RunOutputArtifacts(self, variables, which="outputs"):
        ids = [
            each
            for each in self._run(variables)[which]
            if self.artifacts[each]["state"] == "COMMITTED"
        ]
        edges = [{"node": self.artifacts[each], "cursor": each} for each in ids]
        pages = {"totalCount": len(ids), "pageInfo": _LAST_PAGE, "edges": edges}
        return {"project": {"run": {"artifacts": pages}}}

    def _RunInputArtifacts(self, variables):
        return self._RunOutputArtifacts(variables, "inputs")

    def _ArtifactCreatedBy(self, variables):
        run = self.runs.get(self.artifacts[variables["id"]]["creator"])
        return {"artifact": {"createdBy": _info(run) if run else {"__typename": "User"}}}

    def _ArtifactUsedBy(self, variables):
        users = [run for run in self.runs.values() if variables["id"] in run["inputs"]]
        return {"artifact": {"usedBy": {"edges": [{"node": _info(run)} for run in users]}}}

    def _FetchArtifactManifest(self, variables):
        manifest = self.artifacts[variables["id"]]["manifest"]
        return {"artifact": {"currentManifest": {"file": {"directUrl": manifest}}}}

    def _ArtifactManifest(self, variables):
        return self._FetchArtifactManifest({"id": variables["artifact_id"]})

    def _GetArtifactMembershipFileUrls(self, variables):
        versions = self._versions(variables["collection"])
        artifact = next(each for each in versions if _is(each, variables["alias"]))
        edges = [
            {"node": {"__typename": "File", "name": name, "directUrl": self.address + _blob(entry)}}
            for name, entry in self._entries(artifact).items()
            if "ref" not in entry
        ]
        files = {"pageInfo": _LAST_PAGE, "edges": edges}
        collection = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
        return {"project": {"artifactCollection": collection}}

    def _ProjectArtifacts(self, variables):
        versions = [a for a in self._versions(variables["collection"]) if a["state"] == "COMMITTED"]
        edges = [{"version": f"v{a['versionIndex']}", "node": a} for a in versions[::-1]]
        pages = {"totalCount": len(edges), "pageInfo": _LAST_PAGE, "edges": edges}
        collection = {"__typename": "ArtifactSequence", "artifacts": pages}
        return {"project": {"artifactType": {"artifactCollection": collection}}}

    def _DeleteArtifact(self, variables):
        artifact = self.artifacts[variables["input"]["artifactID"]]
        artifact["state"] = "DELETED"
        return {"result": {"artifact": {"id": artifact["id"]}}}

    # What the client streams

    def stream(self, run, sent):
        """Keep what a run streams: lines from an offset on, and how it ended."""
        with self.lock:
            kept = self.runs.setdefault(run, _new_run(run, len(self.runs) + 1))
            for file, chunk in (sent.get("files") or {}).items():
                self._keep_lines(kept, file, chunk)
            if sent.get("complete"):
                kept["state"] = "finished" if sent.get("exitcode") == 0 else "failed"

    def _keep_lines(self, run, file, chunk):
        name = {"wandb-history.jsonl": "history", "wandb-events.jsonl": "events"}.get(
            file, "output"
        )
        lines = chunk["content"]
        if file == "wandb-summary.json":
            run["summary"] = json.loads(lines[-1])
            return
        offset = chunk["offset"]
        if name != "output":
            lines = [json.loads(line) for line in lines]
        run[name][offset : offset + len(lines)] = lines


def _new_run(name, number):
    project = {"id": "p1", "name": "weekahead", "entity": {"id": "e1", "name": ENTITY}}
    run = {"id": f"run-{number}", "name": name, "project": project, "state": "running"}
    run |= {"config": "{}", "summary": {}, "history": [], "events": [], "output": [], "files": {}}
    return run | {"inputs": [], "outputs": [], "displayName": name, "jobType": None, "tags": []}


def _shown(run):
    """A run as the server shows it."""
    user = {"name": "me", "username": "me"}
    shown = {name: run[name] for name in ("id", "name", "displayName", "jobType", "state", "tags")}
    shown |= {"config": run["config"], "summaryMetrics": json.dumps(run["summary"])}
    shown |= {"systemMetrics": "{}", "historyKeys": _keys(run), "sweepName": None, "group": None}
    shown |= {"project": run["project"], "user": user, "readOnly": False, "commit": None}
    shown |= {"createdAt": _TIME, "heartbeatAt": _TIME, "description": None, "notes": None}
    return shown | {"historyLineCount": len(run["history"]), "projectId": 1}


def _rows(run, stream="history"):
    """The rows as a reader sees them: of two rows of one step the later one counts.

    `wandb sync` sends a record again with the steps that it had before, so the server has to.
    """
    if stream != "history":
        return run[stream]
    by_step = {row["_step"]: row for row in run[stream]}
    return [by_step[step] for step in sorted(by_step)]


def _keys(run):
    names = {name for row in run["history"] for name in row}
    last = run["history"][-1]["_step"] if run["history"] else -1
    counts = {name: {"typeCounts": [{"type": "number", "count": 1}]} for name in names}
    return {"sets": [], "keys": counts, "lastStep": last}


def _project(name):
    return {"id": "p1", "internalId": _internal("1"), "name": name, "entity": {"name": ENTITY}}


def _internal(number):
    return base64.b64encode(f"ProjectInternalId:{number}".encode()).decode()


def _info(run):
    project = _project(run["project"]["name"])
    return {"__typename": "Run", "id": run["id"], "name": run["name"], "project": project}


def _is(artifact, alias):
    """Whether a version is whole and has this alias or number."""
    aliases = [f"v{artifact['versionIndex']}", *(each["alias"] for each in artifact["aliases"])]
    return artifact["state"] == "COMMITTED" and alias in aliases


def _membership(artifact):
    sequence = artifact["artifactSequence"]
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": f"membership-{artifact['id']}",
        "versionIndex": artifact["versionIndex"],
        "createdAt": _TIME,
        "aliases": artifact["aliases"],
        "artifactCollection": {**sequence, "__typename": "ArtifactSequence"},
        "artifact": artifact,
    }


def _md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def _blob(entry):
    return f"/blob/{base64.b64decode(entry['digest']).hex()}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/sdk/otel"):
            self._reply(200, b"{}")
        elif not self._known_key():
            self._reply(401, b'{"errors": [{"message": "invalid API key"}]}')
        elif self.path == "/graphql":
            self._graphql(json.loads(body))
        else:
            self._stream(json.loads(body))

    def _graphql(self, asked):
        operation = re.search(r"\b(?:query|mutation)\s+(\w+)", asked["query"])
        name = operation[1] if operation else "Viewer"
        status = self.server.fault(name)
        if status:
            self._reply(status, b"{}")
            return
        try:
            data = self.server.answer(name, asked.get("variables") or {})
        except Exception as error:  # the client would ask again and again for a broken connection
            self.server.errors.append(f"{name}: {error!r}")
            self._reply(400, json.dumps({"errors": [{"message": repr(error)}]}).encode())
            return
        self._reply(200, json.dumps({"data": data}).encode())

    def _stream(self, sent):
        status = self.server.fault(self.path)
        if status:
            self._reply(status, b"{}")
            return
        self.server.stream(self.path.split("/")[-2], sent)
        self._reply(200, b"{}")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.fault(self.path)
        if status:
            self._reply(status, b"{}")
            return
        path = unquote(self.path)
        if path.startswith("/run/"):
            _, _, run, name = path.split("/", 3)
            self.server.runs[run]["files"][name] = body
        else:
            self.server.blobs[path] = body
        self._reply(200, b"")

    def do_GET(self):
        path = unquote(self.path)
        content = self.server.blobs.get(path)
        if path.startswith("/run/"):
            _, _, run, name = path.split("/", 3)
            content = self.server.runs[run]["files"].get(name)
        self._reply(404 if content is None else 200, content or b"")

    def _known_key(self):
        asked = self.headers.get("Authorization", "")
        return asked == "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()

    def _reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Keep the test's output quiet."""


@contextmanager
def serving(port=0):
    """A server of its own for as long as the block lasts."""
    server = RunServer(port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
