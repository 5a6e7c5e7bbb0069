"""Dashboards and annotations put into someone's Grafana, by `grafana-api`: the one place that speaks to it.

The token comes from a file that only its owner can read, and is never part of a URL, a log or a message. Redirects
are refused: the library would follow them, and Grafana itself has none to give. The calls are those of `/api`, which
Grafana 10 to 13 have.
"""

import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from orchestrator.errors import EdgebedError, UsageError

DATASOURCE = "edgebed-prom"
FOLDER = "edgebed"
OLDEST = 10  # of Grafana's major versions
TIMEOUT_S = 15.0
LARGEST_TOKEN = 4096
T = TypeVar("T")


@dataclass(frozen=True)
class Stretch:
    """An annotation from one instant to another (Unix time, s)."""

    from_s: float
    to_s: float
    text: str
    tags: tuple[str, ...]


class GrafanaError(EdgebedError):
    """Grafana did not do what was asked; `status` is its HTTP status, None where it gave none."""

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(text)


def read_token(path: Path) -> str:
    """The token of a file that nobody but its owner may read; UsageError otherwise."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise UsageError(f"{path} can be read by others (mode {mode:04o}); try: chmod 600 {path}")
        with path.open(encoding="utf-8") as file:
            token = file.read(LARGEST_TOKEN).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {path} cannot be read: {error}") from error
    if not token or not token.isascii() or len(token.split()) != 1:
        raise UsageError(f"{path} holds no token: one word is expected, such as glsa_... of a service account")
    return token


class Grafana:
    """A Grafana at a URL, spoken to as one service account."""

    def __init__(self, url: str, token: str) -> None:
        from grafana_api.grafana_face import GrafanaFace

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UsageError(
                f"--url {url}: http://host:port or https://host/path is expected, without a name or password"
            )
        prefix = parts.path.strip("/")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.url = url.rstrip("/")
        self._token = token
        self._api = GrafanaFace(
            auth=token,
            host=host,
            port=parts.port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=parts.scheme,
            timeout=TIMEOUT_S,
        )
        session = self._api.api.s
        session.max_redirects = 0
        session.trust_env = False  # no proxy and no .netrc, whose password would take the token's place

    def version(self) -> str:
        """Its version; GrafanaError where it is too old or not well."""
        health = self._call("health", lambda: self._api.api.GET("/health"))
        version = str(health.get("version", ""))
        major = re.match(r"\d+", version)
        if major is None:
            return version  # it may be told not to say
        if int(major.group()) < OLDEST:
            raise GrafanaError(f"{self.url} is Grafana {version}; the dashboards need {OLDEST} or newer")
        return version

    def ensure_datasource(self, prometheus_url: str, name: str = DATASOURCE) -> bool:
        """Have a Prometheus data source of that name, which is its uid too; whether it had to be made."""
        wanted = {
            "name": name,
            "uid": name,
            "type": "prometheus",
            "access": "proxy",
            "url": prometheus_url,
            "jsonData": {"httpMethod": "POST", "timeInterval": "1s"},
        }
        try:
            self._call("data source", lambda: self._api.datasource.get_datasource_by_name(name))
        except GrafanaError as error:
            if error.status != 404:
                raise
            self._call("new data source", lambda: self._api.datasource.create_datasource(wanted))
            return True
        return False

    def ensure_folder(self, uid: str = FOLDER, title: str = "Edgebed") -> None:
        """Have a folder for the dashboards."""
        try:
            self._call("folder", lambda: self._api.folder.get_folder(uid))
        except GrafanaError as error:
            if error.status != 404:
                raise
            self._call("new folder", lambda: self._api.folder.create_folder(title, uid))

    def push(self, dashboard: Mapping[str, Any], folder: str = FOLDER, *, overwrite: bool = True) -> str:
        """Put a dashboard there, in place of the one with its uid; returns its URL."""
        wanted = {"dashboard": dict(dashboard), "folderUid": folder, "overwrite": overwrite, "message": "Edgebed"}
        what = f"dashboard {dashboard['uid']}"
        answer = self._call(what, lambda: self._api.dashboard.update_dashboard(wanted))
        return f"{self.url}/d/{answer['uid']}"

    def dashboard(self, uid: str) -> dict[str, Any]:
        """A dashboard as Grafana has it."""
        answer = self._call(f"dashboard {uid}", lambda: self._api.dashboard.get_dashboard(uid))
        return dict(answer["dashboard"])

    def tagged(self, tag: str) -> set[str]:
        """The uids of dashboards with a tag."""
        found = self._call("search", lambda: self._api.api.GET("/search?" + urlencode({"tag": tag, "type": "dash-db"})))
        return {str(each["uid"]) for each in found}

    def annotations(self, tags: Sequence[str]) -> list[dict[str, Any]]:
        """The annotations that have all these tags."""
        asked = urlencode([*(("tags", tag) for tag in tags), ("limit", "1000")])
        return list(self._call("annotations", lambda: self._api.api.GET(f"/annotations?{asked}")))

    def annotate(self, stretch: Stretch) -> int:
        """Make an annotation of the whole organisation; returns its id."""
        answer = self._call(
            "annotation",
            lambda: self._api.annotations.add_annotation(
                time_from=round(1000 * stretch.from_s),
                time_to=round(1000 * stretch.to_s),
                tags=list(stretch.tags),
                text=stretch.text,
            ),
        )
        return int(answer["id"])

    def remove(self, what: str, name: str | int) -> None:
        """Remove a dashboard or folder (by uid), a data source (by name) or an annotation (by id)."""
        paths = {
            "dashboard": "/dashboards/uid",
            "folder": "/folders",
            "data source": "/datasources/name",
            "annotation": "/annotations",
        }
        self._call(what, lambda: self._api.api.DELETE(f"{paths[what]}/{name}"))

    def _call(self, what: str, call: Callable[[], T]) -> T:
        """Let the library speak; whatever goes wrong becomes one line without the token."""
        from grafana_api.grafana_api import GrafanaException

        try:
            return call()
        except GrafanaException as error:
            said = str(error).replace(self._token, "***")
            hint = {401: "; is the token of this Grafana, and not expired?", 403: "; the token may not: give it Editor"}
            text = f"{self.url}: {what}: {said}{hint.get(error.status_code, '')}"
            raise GrafanaError(text, error.status_code) from None
        except ValueError:
            raise GrafanaError(f"{self.url}: {what}: the answer is no JSON; is this the URL of a Grafana?") from None
        except OSError as error:
            answer = getattr(error, "response", None)
            if answer is not None and answer.is_redirect:
                raise GrafanaError(
                    f"{self.url} sends us on to {answer.headers.get('Location', 'elsewhere')}; redirects are not"
                    " followed, because the token would go along: give the URL where it really is"
                ) from None
            raise GrafanaError(f"{self.url} does not answer: {type(error).__name__}; is a Grafana there?") from None
