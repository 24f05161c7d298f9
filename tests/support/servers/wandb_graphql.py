"""W&B servers on loopback for what a run does not need: views (dashboards), and sweeps."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VIEWER = {"id": "VXNlcjox", "entity": "me", "username": "me", "name": "me", "flags": "{}"}
VIEWER |= {"email": "me@example.org", "teams": {"edges": []}}


class _Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class ViewServer(_Server):
    """Keeps views by name; `saved` holds the variables of each saving, in their order."""

    def __init__(self):
        super().__init__()
        self.saved = []

    def answer(self, query, variables):
        """What the server says to a query; the client's mutation UpsertView2 saves."""
        if "upsertView" in query:
            self.saved.append(variables)
            view = {"id": "view-1", "name": variables["name"]}
            return {"upsertView": {"view": view, "inserted": len(self.saved) == 1}}
        if "allViews" in query:
            found = [view for view in self.saved if view["name"] == variables["viewName"]]
            nodes = [{"node": {"id": "view-1", **view}} for view in found[-1:]]
            return {"project": {"allViews": {"edges": nodes}}}
        return {"viewer": VIEWER}


class SweepServer(_Server):
    """Keeps one sweep, and gives an agent the points that it was made with, then the end."""

    def __init__(self, points):
        super().__init__()
        self.config = None
        self._orders = [
            {
                "type": "run",
                "run_id": f"point{number}",
                "program": None,
                "args": {name: {"value": value} for name, value in point.items()},
            }
            for number, point in enumerate(points)
        ]

    def answer(self, query, variables):
        """What the server says to a query of `wandb sweep` and `wandb agent`."""
        project = {"id": "p1", "name": "weekahead", "entity": {"id": "e1", "name": "me"}}
        if "upsertSweep" in query:
            self.config = variables["config"]
            made = {"sweep": {"name": "sweep1", "project": project}, "configValidationWarnings": []}
            return {"upsertSweep": made}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent1"}}}
        if "agentHeartbeat" in query:
            return {
                "agentHeartbeat": {"agent": {"id": "agent1"}, "commands": self._next(variables)}
            }
        if "sweep(" in query:
            pages = {"edges": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
            fields = {"id": "s1", "name": "sweep1", "config": self.config, "state": "RUNNING"}
            return {"project": {"sweep": {**fields, "method": "grid", "runs": pages}}}
        return {"viewer": VIEWER}

    def _next(self, variables):
        """One order per heartbeat, when no run is going on."""
        if json.loads(variables["runState"]):
            return "[]"
        return json.dumps([self._orders.pop(0) if self._orders else {"type": "exit"}])


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/graphql":  # the client's telemetry
            self._reply(404, {})
            return
        asked = json.loads(body)
        data = self.server.answer(asked["query"], asked.get("variables") or {})
        self._reply(200, {"data": data})

    def _reply(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Keep the test's output quiet."""
