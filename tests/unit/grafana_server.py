"""A stand-in for a Grafana, held to its published API: every request and answer is checked against the description.

The description (Grafana's public OpenAPI document) is told here in our own words, cut down to the calls that we make:
what a request may hold, and what an answer must. A request that Grafana would not know fails the test.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

Json = dict[str, Any]
TEXT, NUMBER, OBJECT = {"type": "string"}, {"type": "integer"}, {"type": "object"}
TEXTS = {"type": "array", "items": TEXT}


def a(required: Json, optional: Json | None = None, *, closed: bool = False) -> Json:
    """The schema of an object."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": not closed}


def asked(required: Json, optional: Json | None = None) -> Json:
    """The schema of a request: what is not in it, Grafana would not know."""
    return a(required, optional, closed=True)


MESSAGE = a({"message": TEXT})
DATASOURCE = a({"id": NUMBER, "uid": TEXT, "name": TEXT, "type": TEXT, "url": TEXT, "access": TEXT})
FOLDER = a({"id": NUMBER, "uid": TEXT, "title": TEXT})
NOTHING: Json = {"type": "null"}
# method, path, what is sent, what comes back
CALLS: list[tuple[str, str, Json, Json]] = [
    ("GET", r"/api/health", NOTHING, a({"version": TEXT, "database": TEXT, "commit": TEXT})),
    ("GET", r"/api/datasources/name/[^/]+", NOTHING, DATASOURCE),
    ("DELETE", r"/api/datasources/name/[^/]+", NOTHING, a({"id": NUMBER, "message": TEXT})),
    (
        "POST",
        r"/api/datasources",
        asked({"name": TEXT, "type": TEXT, "access": TEXT}, {"uid": TEXT, "url": TEXT, "jsonData": OBJECT}),
        a({"id": NUMBER, "name": TEXT, "message": TEXT, "datasource": DATASOURCE}),
    ),
    ("GET", r"/api/folders/[^/]+", NOTHING, FOLDER),
    ("DELETE", r"/api/folders/[^/]+", NOTHING, a({"id": NUMBER, "title": TEXT, "message": TEXT})),
    ("POST", r"/api/folders", asked({"title": TEXT}, {"uid": TEXT}), FOLDER),
    (
        "POST",
        r"/api/dashboards/db",
        asked({"dashboard": OBJECT}, {"folderUid": TEXT, "overwrite": {"type": "boolean"}, "message": TEXT}),
        a({"id": NUMBER, "uid": TEXT, "url": TEXT, "status": TEXT, "version": NUMBER}),
    ),
    ("GET", r"/api/dashboards/uid/[^/]+", NOTHING, a({"dashboard": OBJECT, "meta": OBJECT})),
    ("DELETE", r"/api/dashboards/uid/[^/]+", NOTHING, a({"id": NUMBER, "title": TEXT, "message": TEXT})),
    ("GET", r"/api/search", NOTHING, {"type": "array", "items": a({"uid": TEXT, "title": TEXT, "type": TEXT})}),
    (
        "POST",
        r"/api/annotations",
        asked(
            {"text": TEXT},
            {
                "time": NUMBER,
                "timeEnd": NUMBER,
                "tags": TEXTS,
                "dashboardId": {"type": ["integer", "null"]},
                "panelId": {"type": ["integer", "null"]},
            },
        ),
        a({"id": NUMBER, "message": TEXT}),
    ),
    (
        "GET",
        r"/api/annotations",
        NOTHING,
        {"type": "array", "items": a({"id": NUMBER, "time": NUMBER, "timeEnd": NUMBER, "text": TEXT, "tags": TEXTS})},
    ),
    ("DELETE", r"/api/annotations/\d+", NOTHING, MESSAGE),
]


@dataclass
class FakeGrafana:
    """What it holds, and how it misbehaves."""

    token: str = "glsa_right"
    version: str = "12.0.0"
    redirect_to: str = ""
    html: bool = False
    forgets: str = ""  # a collection that it does not keep
    datasources: dict[str, Json] = field(default_factory=dict)
    folders: dict[str, Json] = field(default_factory=dict)
    dashboards: dict[str, Json] = field(default_factory=dict)
    annotations: dict[int, Json] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # requests and answers that are not as described
    url: str = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and answer to a call."""
        name = path.rsplit("/", 1)[-1]
        if path == "/api/health":
            return 200, {"version": self.version, "database": "ok", "commit": "abc"}
        if path.startswith("/api/datasources"):
            return self._datasource(method, name, body)
        if path.startswith("/api/folders"):
            return self._thing(self.folders, method, name, body)
        if path == "/api/search":
            tagged = [each for each in self.dashboards.values() if query["tag"][0] in each["tags"]]
            return 200, [{"uid": each["uid"], "title": each["title"], "type": "dash-db"} for each in tagged]
        if path.startswith("/api/annotations"):
            return self._annotation(method, name, query, body)
        return self._dashboard(method, name, body)

    def _datasource(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        if method != "POST":
            return self._thing(self.datasources, method, name, body)
        if body["name"] in self.datasources:
            return 409, {"message": "data source with the same name already exists"}
        made = {**body, "id": len(self.datasources) + 1}
        self.datasources[body["name"]] = made
        return 200, {"id": made["id"], "name": body["name"], "message": "Datasource added", "datasource": made}

    def _thing(self, things: dict[str, Json], method: str, name: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            things[body["uid"]] = {**body, "id": len(things) + 1}
            return 200, things[body["uid"]]
        if name not in things:
            return 404, {"message": "not found"}
        if method == "DELETE":
            gone = things.pop(name)
            return 200, {"id": gone["id"], "title": gone.get("title", ""), "message": "deleted"}
        return 200, things[name]

    def _dashboard(self, method: str, uid: str, body: Any) -> tuple[int, Any]:
        if method != "POST":
            status, found = self._thing(self.dashboards, method, uid, body)
            return status, {"dashboard": found, "meta": {}} if method == "GET" and status == 200 else found
        sent = body["dashboard"]
        if body.get("folderUid", "") not in {"", *self.folders}:
            return 400, {"message": "folder not found"}
        before = self.dashboards.get(sent["uid"])
        if before is not None and not body.get("overwrite") and sent.get("version") != before["version"]:
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        version = 1 if before is None else before["version"] + 1
        made = {**sent, "id": len(self.dashboards) + 1, "version": version}
        if self.forgets != "dashboards":
            self.dashboards[sent["uid"]] = made
        return 200, {"id": made["id"], "uid": sent["uid"], "url": "/d/x", "status": "success", "version": version}

    def _annotation(self, method: str, name: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method == "POST":
            number = len(self.annotations) + 1
            self.annotations[number] = {**body, "id": number}
            return 200, {"id": number, "message": "Annotation added"}
        if method == "DELETE":
            del self.annotations[int(name)]
            return 200, {"message": "Annotation deleted"}
        wanted = set(query["tags"])
        return 200, [each for each in self.annotations.values() if wanted <= set(each["tags"])]


def _described(method: str, path: str) -> tuple[Json, Json] | None:
    for known, pattern, request, response in CALLS:
        if known == method and re.fullmatch(pattern, path):
            return request, response
    return None


@contextmanager
def serving_grafana(fake: FakeGrafana) -> Iterator[FakeGrafana]:
    """It listens on loopback for as long as the block lasts; then nothing may have been off the description."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            body = json.loads(raw) if raw else None
            fake.asked.append(f"{self.command} {self.path}")
            fake.headers.append(self.headers.get("Authorization", ""))
            if fake.redirect_to:
                self.send_response(302)
                self.send_header("Location", fake.redirect_to)
                self.end_headers()
                return
            described = _described(self.command, parts.path)
            if described is None:
                fake.broken.append(f"{self.command} {parts.path} is not described")
                described = ({}, {})
            request, response = described
            if self.headers.get("Authorization") != f"Bearer {fake.token}" and parts.path != "/api/health":
                status, answer = 401, {"message": f"invalid: {self.headers.get('Authorization')}"}
            else:
                self._validate(body, request, "request")
                status, answer = fake.answer(self.command, parts.path, parse_qs(parts.query), body)
            self._validate(answer, response if status == 200 else MESSAGE, f"answer {status}")
            self._send(status, b"<html>Welcome</html>" if fake.html else json.dumps(answer).encode())

        def _validate(self, found: Any, schema: Json, what: str) -> None:
            try:
                jsonschema.validate(found, schema)
            except jsonschema.ValidationError as error:
                fake.broken.append(f"{what} of {self.command} {self.path}: {error.message}")

        def _send(self, status: int, text: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _handle

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        fake.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
    assert fake.broken == []
