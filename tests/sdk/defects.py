"""A proxy that spoils one thing in what the local vault answers: a suite that stays green with it is worthless.

It knows the wire, no client. Each defect is a function from (method, path, status, body as JSON) to the status and body
that the client gets.
"""

import http.client
import http.server
import json
import ssl
import threading

import certificate

HOST = "akv.localhost"


def wrong_value(_method, _path, status, body):
    if status == 200 and isinstance(body.get("value"), str) and "attributes" in body:
        body["value"] += "!"
    return status, body


def ascii_only(_method, _path, status, body):
    return status, json.loads(json.dumps(body).encode("ascii", "replace").replace(b"\\u", b"?u"))


def pages_end_early(_method, _path, status, body):
    if "nextLink" in body:
        body["nextLink"] = None
    return status, body


def lists_too_little(_method, path, status, body):
    """One item of every list is missing."""
    if status == 200 and isinstance(body.get("value"), list) and body["value"]:
        body["value"].pop()
    return status, body


def tags_lost(_method, _path, status, body):
    for thing in [body, *(body["value"] if isinstance(body.get("value"), list) else [])]:
        thing.pop("tags", None)
    return status, body


def dates_lost(_method, _path, status, body):
    body.get("attributes", {}).pop("exp", None)
    return status, body


def type_lost(_method, _path, status, body):
    body.pop("contentType", None)
    return status, body


def never_disabled(_method, _path, status, body):
    if status == 403:
        return 200, {"value": "x", "id": f"https://{HOST}/secrets/x/{'0' * 32}", "attributes": {"enabled": True}}
    return status, body


def conflicts_are_not_found(_method, _path, status, body):
    return (404 if status == 409 else status), body


def missing_is_forbidden(_method, _path, status, body):
    return (403 if status == 404 else status), body


def no_inner_code(_method, _path, status, body):
    body.get("error", {}).pop("innererror", None)
    return status, body


def kept_too_short(_method, _path, status, body):
    if "scheduledPurgeDate" in body:
        body["scheduledPurgeDate"] -= 86_400
    return status, body


def other_recovery_id(_method, _path, status, body):
    if "recoveryId" in body:
        body["recoveryId"] = body["recoveryId"].replace("deletedsecrets", "secrets")
    return status, body


def other_version(_method, _path, status, body):
    if status == 200 and "id" in body and "value" in body:
        body["id"] = body["id"][:-32] + "0" * 32
    return status, body


def names_have_case(_method, path, status, body):
    """A name in another case than the first one is another name."""
    if path.split("/")[2:3] and path.split("/")[2].split("?")[0] in ("camelcase", "JS-CAMEL", "RS-CAMEL"):
        return 404, {"error": {"code": "SecretNotFound", "message": "not found"}}
    return status, body


def nothing(_method, _path, status, body):
    """The control: with it every suite passes, or what a suite notices is the proxy."""
    return status, body


DEFECTS = {
    function.__name__: function
    for function in (
        wrong_value, ascii_only, pages_end_early, lists_too_little, tags_lost, dates_lost, type_lost, never_disabled,
        conflicts_are_not_found, missing_is_forbidden, no_inner_code, kept_too_short, other_recovery_id, other_version,
        names_have_case,
    )
}


def start(name: str, vault: int, authority: str) -> int:
    """Starts the proxy before the vault at port `vault`, for as long as this process lives; the proxy's port."""
    trust = ssl.create_default_context(cafile=authority)
    handler = type("Handler", (Proxy,), {"defect": staticmethod({**DEFECTS, "nothing": nothing}[name]), "vault": vault, "trust": trust})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = certificate.context(authority, HOST, "localhost").wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes a request on with its own Host, so that ids and links name the proxy."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet; in two, each answer would wait 40 ms for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        vault = http.client.HTTPSConnection(HOST, self.vault, context=self.trust)
        vault.request(self.command, self.path, self.rfile.read(length), dict(self.headers))
        answer = vault.getresponse()
        status, raw = answer.status, answer.read()
        if raw and status != 401:
            status, body = self.defect(self.command, self.path, status, json.loads(raw))
            raw = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "date", "server", "connection"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
        vault.close()

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_) -> None:
        pass
