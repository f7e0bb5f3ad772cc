"""A wandb server on 127.0.0.1 that the real client and its agent talk to. It keeps in memory what it is sent.

    with WandbServer() as server:
        subprocess.run([...], env=environment | server.environment())
        server.runs["abc"].history  # the rows, as they stand on the server

It answers what version 0.31 of the client asks: GraphQL by the name of the operation, the stream of a run's files, and
uploads. Anything else is answered by an error and kept in ``unknown``. ``python -m tests.support.wandb_server`` serves
until it is interrupted.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import yaml

KEY = "0123456789" * 4  # of the user whom the server knows
ENTITY = {"id": "entity", "name": "me"}
Answer = dict[str, Any]


@dataclass
class Request:
    """What was asked, with its body as it was before the client compressed it."""

    method: str
    path: str
    body: bytes
    operation: str = ""  # of GraphQL


@dataclass
class Run:
    """A run as the server has it: what UpsertBucket said last, and the lines of its files."""

    name: str
    said: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None
    complete: bool = False
    alerts: list[dict[str, Any]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)  # ids of artifacts
    logged: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that were logged, in the order of the server."""
        return [json.loads(line) for line in self.files.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as it was sent last."""
        return dict(json.loads((self.files.get("wandb-summary.json") or ["{}"])[-1]))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, without the client's own entry."""
        found = json.loads(self.said.get("config") or "{}")
        return {name: entry["value"] for name, entry in found.items() if name != "_wandb"}


@dataclass
class Artifact:
    """A version of an artifact; ``files`` has the bytes of those that its manifest names, once it is committed."""

    id: str
    said: dict[str, Any]
    committed: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Without its version."""
        return str(self.said["artifactCollectionName"])

    @property
    def aliases(self) -> list[str]:
        """The names that it goes by."""
        return [one["alias"] for one in self.said.get("aliases") or []]


@dataclass
class Sweep:
    """A sweep over a grid. ``trials``: the parameters of each, in order; ``given``: which agent got which run."""

    name: str
    config: dict[str, Any]
    trials: list[dict[str, Any]]
    given: list[tuple[str, str]] = field(default_factory=list)


class WandbServer:
    """See the module. ``port`` 0 takes a free one. ``fail``: the number of requests that are answered by HTTP 500 next."""

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.uploads: dict[str, bytes] = {}  # path -> bytes
        self.requests: list[Request] = []
        self.unknown: list[tuple[str, str]] = []
        self.fail = 0
        self.delay = 0.0  # seconds that each answer takes
        self.lock = threading.RLock()
        self.port = port
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What WANDB_BASE_URL must be."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The variables with which a client finds this server and reports to nobody else."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"}

    def start(self) -> None:
        """Serve. After ``stop`` the same port again, with all that was sent before."""
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Listener(("127.0.0.1", self.port), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Serve no more: connections are refused, and those that are open are cut."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def content(self, artifact: Artifact) -> dict[str, bytes]:
        """The files of an artifact by name, as they were uploaded."""
        return {name: self.uploads[f"/up/art/{artifact.id}/{name}"] for name in artifact.manifest.get("contents", {})}

    def artifact(self, name: str) -> Artifact:
        """The newest committed version of an artifact."""
        return [one for one in self.artifacts.values() if one.name == name and one.committed][-1]

    def graphql(self, query: str, values: dict[str, Any], operation: str) -> Answer:
        """The answer to a query, by the name of its operation."""
        answer = getattr(self, f"_{operation}", None)
        if answer is None:
            self.unknown.append((operation, query[:200]))
            return {"data": None, "errors": [{"message": f"unknown operation {operation}"}]}
        with self.lock:
            return {"data": answer(values)}

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """What a client says of the files of a run."""
        with self.lock:
            run = self.runs.setdefault(name, Run(name))
            for file, chunk in (body.get("files") or {}).items():
                lines = run.files.setdefault(file, [])
                offset = 0 if file == "wandb-summary.json" else chunk.get("offset", len(lines))
                lines[offset : offset + len(chunk["content"])] = chunk["content"]
            if body.get("complete"):
                run.complete, run.exit_code = True, body.get("exitcode")

    def uploaded(self, path: str, body: bytes) -> None:
        """A file at an address that the server gave."""
        with self.lock:
            self.uploads[path] = body
            if path.startswith("/up/manifest/"):
                self.artifacts[path.removeprefix("/up/manifest/")].manifest = json.loads(body)

    def _bucket(self, run: Run) -> Answer:
        history, events = run.files.get("wandb-history.jsonl", []), run.files.get("wandb-events.jsonl", [])
        project = run.said.get("project") or "project"
        return {
            "id": f"id-{run.name}",
            "name": run.name,
            "displayName": run.said.get("displayName") or run.name,
            "description": None,
            "config": run.said.get("config") or "{}",
            "sweepName": run.said.get("sweep"),
            "project": {"id": "project", "name": project, "entity": ENTITY},
            "historyLineCount": len(history),
            "logLineCount": len(run.files.get("output.log", [])),
            "eventsLineCount": len(events),
            "summaryMetrics": json.dumps(run.summary),
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "tags": run.said.get("tags") or [],
            "notes": run.said.get("notes"),
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _Viewer(self, values: dict[str, Any]) -> Answer:
        user = {
            "id": "user",
            "entity": "me",
            "username": "me",
            "email": "me@example.org",
            "flags": "{}",
            "teams": {"edges": []},
        }
        return {"viewer": user}

    def _ServerFeaturesQuery(self, values: dict[str, Any]) -> Answer:
        return {"serverInfo": {"features": []}}

    def _ServerInfo(self, values: dict[str, Any]) -> Answer:
        return {"serverInfo": {"cliVersionInfo": "{}", "latestLocalVersionInfo": None}}

    def _UpsertBucket(self, values: dict[str, Any]) -> Answer:
        name = values.get("name") or values["id"].removeprefix("id-")
        new = name not in self.runs
        run = self.runs.setdefault(name, Run(name))
        run.said |= {key: value for key, value in values.items() if value is not None}
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": new}}

    def _RunResumeStatus(self, values: dict[str, Any]) -> Answer:
        run = self.runs.get(values["name"])
        model = {"id": "project", "name": values.get("project"), "entity": ENTITY}
        return {"model": model | {"bucket": self._bucket(run) if run else None}}

    def _RunStoppedStatus(self, values: dict[str, Any]) -> Answer:
        return {"project": {"run": {"stopped": False}}}

    def _CreateRunFiles(self, values: dict[str, Any]) -> Answer:
        run = values["run"]
        files = [{"name": name, "uploadUrl": f"{self.url}/up/run/{run}/{name}"} for name in values["files"]]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}

    def _NotifyScriptableRunAlert(self, values: dict[str, Any]) -> Answer:
        given = values.get("input") or values
        name = given.get("runName") or given.get("run")
        if name in self.runs:
            self.runs[name].alerts.append(given)
        return {"notifyScriptableRunAlert": {"success": True}}

    def _CreateArtifact(self, values: dict[str, Any]) -> Answer:
        given = values["input"]
        same = [one for one in self.artifacts.values() if one.committed and _of(one) == _of(Artifact("", given))]
        artifact = same[0] if same else Artifact(f"art{len(self.artifacts)}", given)
        if same:
            artifact.said["aliases"] = (artifact.said.get("aliases") or []) + (given.get("aliases") or [])
        self.artifacts[artifact.id] = artifact
        if run := self.runs.get(given.get("runName") or ""):
            run.logged.append(artifact.id)
        state = "COMMITTED" if same else "PENDING"
        return {
            "createArtifact": {"artifact": {"id": artifact.id, "state": state, "artifactSequence": {"latestArtifact": None}}}
        }

    def _CreateArtifactManifest(self, values: dict[str, Any]) -> Answer:
        return {"createArtifactManifest": {"artifactManifest": self._manifest(values["artifactID"])}}

    def _UpdateArtifactManifest(self, values: dict[str, Any]) -> Answer:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(values["artifactManifestID"])}}

    def _manifest(self, artifact: str) -> Answer:
        return {"id": artifact, "file": {"id": "file", "uploadUrl": f"{self.url}/up/manifest/{artifact}", "uploadHeaders": []}}

    def _CreateArtifactFiles(self, values: dict[str, Any]) -> Answer:
        wanted = values.get("artifactFiles") or values.get("input", {}).get("artifactFiles") or []
        edges = [
            {
                "node": {
                    "storagePath": file["name"],
                    "uploadUrl": f"{self.url}/up/art/{file['artifactID']}/{file['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": file["artifactID"]},
                }
            }
            for file in wanted
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, values: dict[str, Any]) -> Answer:
        artifact = self.artifacts[values["artifactID"]]
        artifact.committed = True
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.said.get("digest")}}}

    def _UseArtifact(self, values: dict[str, Any]) -> Answer:
        given = values.get("input") or values
        if run := self.runs.get(given.get("runName") or ""):
            run.used.append(given["artifactID"])
        return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}

    def _ArtifactType(self, values: dict[str, Any]) -> Answer:
        return {"project": {"artifact": None}}

    def _UpsertSweep(self, values: dict[str, Any]) -> Answer:
        given = yaml.safe_load(values["config"])
        names = list(given["parameters"])
        choices = [one.get("values", [one.get("value")]) for one in given["parameters"].values()]
        trials = [dict(zip(names, picked, strict=True)) for picked in itertools.product(*choices)]
        sweep = Sweep(f"sweep{len(self.sweeps)}", given, trials)
        self.sweeps[sweep.name] = sweep
        project = {"id": "project", "name": values.get("projectName") or "project", "entity": ENTITY}
        return {"upsertSweep": {"sweep": {"name": sweep.name, "project": project}, "configValidationWarnings": []}}

    def _CreateAgent(self, values: dict[str, Any]) -> Answer:
        sweep = values.get("sweep") or (values.get("input") or {}).get("sweep")
        return {"createAgent": {"agent": {"id": f"{sweep}/{uuid.uuid4().hex[:8]}"}}}

    def _Heartbeat(self, values: dict[str, Any]) -> Answer:
        agent = values["id"]
        sweep = self.sweeps[agent.split("/")[0]]
        states = json.loads(values.get("runState") or "{}")
        commands: list[Answer] = []
        if not any(state in ("RUNNING", "QUEUED", "running", "queued", True) for state in states.values()):
            if len(sweep.given) == len(sweep.trials):
                commands = [{"type": "exit"}]
            else:
                number = len(sweep.given)
                run = f"{sweep.name}-run{number}"
                sweep.given.append((agent, run))
                arguments = {name: {"value": value} for name, value in sweep.trials[number].items()}
                program = sweep.config.get("program", "")
                commands = [{"type": "run", "program": program, "run_id": run, "args": arguments}]
        return {"agentHeartbeat": {"agent": {"id": agent}, "commands": json.dumps(commands)}}

    def _sweep(self, values: dict[str, Any]) -> Answer:
        sweep = self.sweeps[values.get("name") or values.get("sweep") or ""]
        fixed: Answer = dict.fromkeys(("createdAt", "heartbeatAt", "updatedAt"), "2026-01-01T00:00:00")
        fixed |= {
            "id": f"id-{sweep.name}",
            "name": sweep.name,
            "method": sweep.config.get("method", "grid"),
            "state": "RUNNING",
        }
        fixed |= {"description": None, "config": yaml.safe_dump(sweep.config), "earlyStopJobRunning": False, "bestLoss": None}
        return {"project": {"sweep": fixed | {"controller": "{}", "scheduler": "{}", "runs": {"edges": []}}}}

    _Sweep = _GetSweep = _SweepWithRuns = _sweep


def _of(artifact: Artifact) -> tuple[Any, ...]:
    """What makes two artifacts the same version."""
    return artifact.name, artifact.said.get("artifactTypeName"), artifact.said.get("digest")


class _Listener(ThreadingHTTPServer):
    """A listener that knows its open connections: one that is shut down leaves them open otherwise."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.open: set[Any] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def cut(self) -> None:
        """Close what is open."""
        for request in list(self.open):
            self.shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: WandbServer

    def log_message(self, *_: Any) -> None:
        """Nothing on the screen."""

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_GET(self) -> None:
        self._serve(self._get)

    def _serve(self, answer: Callable[[Request], tuple[int, bytes]]) -> None:
        request = Request(self.command, self.path, self._body())
        with self.fake.lock:
            self.fake.requests.append(request)
            failing = self.fake.fail > 0
            self.fake.fail -= failing
        time.sleep(self.fake.delay)
        try:
            status, content = (500, b'{"error": "injected"}') if failing else answer(request)
        except Exception as error:  # an answer all the same: a client would ask again and again
            self.fake.unknown.append((f"{self.command} {self.path} {request.operation}", repr(error)))
            status, content = 400, json.dumps({"errors": [{"message": repr(error)}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", '"etag"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _post(self, request: Request) -> tuple[int, bytes]:
        values = json.loads(request.body)
        if self.path == "/graphql":
            query = values.get("query", "")
            found = re.search(r"(?:query|mutation)\s+(\w+)", query)
            request.operation = values.get("operationName") or (found[1] if found else "")
            answer = self.fake.graphql(query, values.get("variables") or {}, request.operation)
            return 200, json.dumps(answer).encode()
        if self.path.endswith("/file_stream"):
            self.fake.stream(self.path.split("/")[4], values)
            return 200, b'{"exitcode": null, "limits": {}}'
        self.fake.unknown.append(("POST", self.path))
        return 404, b"{}"

    def _put(self, request: Request) -> tuple[int, bytes]:
        self.fake.uploaded(unquote(self.path), request.body)
        return 200, b""

    def _get(self, request: Request) -> tuple[int, bytes]:
        if (path := unquote(self.path)) in self.fake.uploads:
            return 200, self.fake.uploads[path]
        self.fake.unknown.append(("GET", self.path))
        return 404, b"{}"


def basic(key: str = KEY) -> str:
    """The header by which the client says who it is: the only place of a request where the key may stand."""
    return "Basic " + base64.b64encode(f"api:{key}".encode()).decode()


def main() -> None:
    """Serve until interrupted; the variables for a client stand on the screen."""
    with WandbServer() as server:
        print("\n".join(f"export {name}={value}" for name, value in server.environment().items()), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
