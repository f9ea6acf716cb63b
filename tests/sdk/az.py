#!/usr/bin/env python3
"""`az keyvault secret`, every command of it, against the vault at AKV_URL; run by with_vault.py: az.py AZ.

Signed in through an identity endpoint of our own, as App Service has one. az then lists its subscriptions at the cloud's
resource manager; ours has none. It asks nobody else. Its configuration lives
in a directory that is removed afterwards.
"""

import asyncio
import base64
import datetime
import http.client
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import az_files
import certificate
from checks import Checks
from mount_vs_python import Mount

URL = os.environ["AKV_URL"]
PORT = URL.rsplit(":", 1)[1]
TENANT = "00000000-0000-0000-0000-000000000001"
HEADER = "made-up-header"
TEXT = "äöü 漢字 😀 \"quoted\" \\ end"


def part(claims: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


class Identity(http.server.BaseHTTPRequestHandler):
    """Answers as App Service's identity endpoint: a token that says who it is for, signed by nobody."""

    asked: list[str] = []

    def do_GET(self) -> None:
        if self.headers.get("X-IDENTITY-HEADER") != HEADER:
            self.send_error(401)
            return
        self.asked.append(self.path)
        end = int(time.time()) + 86_400
        claims = {"tid": TENANT, "oid": TENANT, "appid": TENANT, "exp": end, "xms_mirid": "/subscriptions/none"}
        token = ".".join((part({"alg": "none", "typ": "JWT"}), part(claims), "c2ln"))
        body = json.dumps({"access_token": token, "expires_on": str(end), "resource": "any", "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


class ResourceManager(http.server.BaseHTTPRequestHandler):
    """Has no subscriptions."""

    def do_GET(self) -> None:
        body = b'{"value": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def serve(handler, tls: ssl.SSLContext | None = None) -> int:
    """Serves until the program ends; the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Az:
    """The command, with a configuration and an identity of its own."""

    def __init__(self, program: str, directory: str, identity: int, manager: int) -> None:
        self.program, self.directory = program, pathlib.Path(directory)
        self.manager = f"https://localhost:{manager}"
        self.environment = {
            **os.environ, "AZURE_CONFIG_DIR": f"{directory}/config", "IDENTITY_HEADER": HEADER,
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{identity}/token", "AZURE_CORE_COLLECT_TELEMETRY": "no",
            "AZURE_CORE_NO_COLOR": "yes", "PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1", "AZURE_CORE_ONLY_SHOW_ERRORS": "yes",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess:
        command = [self.program, *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)

    def plain(self, *words: str):
        """What a command answers; it must not fail."""
        done = self.run(*words)
        assert done.returncode == 0, f"az {words[0]} {words[-1]}: {done.stderr[-400:]}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def secret(self, verb: str, name: str | None = None, *words: str):
        return self.plain("keyvault", "secret", verb, "--vault-name", "akv", *(["--name", name] if name else []), *words)

    def refused(self, code: int, text: str, verb: str, name: str, *words: str) -> None:
        """`code` is az's own: 3 where `show` finds nothing, 1 for other refusals."""
        done = self.run("keyvault", "secret", verb, "--vault-name", "akv", "--name", name, *words)
        assert (done.returncode, text in done.stderr) == (code, True), f"{done.returncode} {done.stderr[-300:]}"

    def sign_in(self) -> None:
        authority = [("endpoint-active-directory", "https://login.invalid"), ("endpoint-resource-manager", self.manager)]
        resource = [("endpoint-active-directory-resource-id", self.manager), ("endpoint-active-directory-graph-resource-id", "https://graph.invalid")]
        options = [f"--{key}={value}" for key, value in [*authority, *resource, ("suffix-keyvault-dns", f".localhost:{PORT}")]]
        self.plain("cloud", "register", "--name", "akvfs", "--skip-endpoint-discovery", *options)
        self.plain("cloud", "set", "--name", "akvfs")
        self.plain("login", "--identity", "--allow-no-subscriptions")


def set_and_show(az: Az) -> None:
    made = az.secret("set", "az-one", "--value", TEXT, "--tags", "a=1", "b=ü", "--description", "text/x", "--expires", "2099-01-01T00:00:00Z", "--not-before", "2001-02-03T04:05:06Z")
    read = az.secret("show", "az-one")
    for told in (made, read):
        assert told["value"] == TEXT and told["id"] == f"{URL}/secrets/az-one/{told['id'].rsplit('/')[-1]}", told["id"]
        assert (told["tags"]["a"], told["tags"]["b"], told["contentType"]) == ("1", "ü", "text/x"), told["tags"]
        assert told["attributes"]["expires"].startswith("2099-01-01T00:00:00"), told["attributes"]
        assert told["attributes"]["notBefore"].startswith("2001-02-03T04:05:06") and told["attributes"]["enabled"] is True
    assert az.plain("keyvault", "secret", "show", "--id", made["id"])["value"] == TEXT


def versions(az: Az) -> None:
    ids = [az.secret("set", "az-versions", "--value", f"v{n}")["id"] for n in range(3)]
    assert sorted(item["id"] for item in az.secret("list-versions", "az-versions")) == sorted(ids)
    old = az.secret("show", "az-versions", "--version", ids[0].rsplit("/")[-1])
    assert old["value"] == "v0"


def lists(az: Az) -> None:
    for number in range(3):
        az.secret("set", f"az-list-{number}", "--value", "hidden", "--tags", f"n={number}")
    listed = [item for item in az.secret("list") if item["name"].startswith("az-list-")]
    assert [(item["name"], item["tags"]["n"]) for item in listed] == [(f"az-list-{n}", str(n)) for n in range(3)]
    assert not any("hidden" in json.dumps(item) for item in listed)


def every_page(az: Az) -> None:
    """More than the service puts on a page; made without az, which takes a second for each."""
    wanted = {f"az-page-{number:02}" for number in range(60)}
    vault = http.client.HTTPSConnection(URL.removeprefix("https://"), context=ssl.create_default_context(cafile=os.environ["AKV_CA"]))
    headers = {"Authorization": "Bearer any-token", "Content-Type": "application/json"}
    for name in wanted:
        vault.request("PUT", f"/secrets/{name}?api-version=7.4", '{"value": "x"}', headers)
        answer = vault.getresponse()
        assert answer.status == 200 and answer.read(), answer.status
    assert wanted <= {item["name"] for item in az.secret("list")}


def names_have_no_case(az: Az) -> None:
    az.secret("set", "CamelCase", "--value", "one")
    assert az.secret("show", "camelcase")["value"] == "one"


def set_attributes(az: Az) -> None:
    az.secret("set", "az-attributes", "--value", "x", "--tags", "old=1")
    answer = az.secret("set-attributes", "az-attributes", "--tags", "new=2", "--content-type", "a/b", "--expires", "2050-02-02T08:00:00Z")
    assert answer["tags"] == {"new": "2"} and answer["contentType"] == "a/b", answer
    assert answer["attributes"]["expires"].startswith("2050-02-02T08:00:00")
    az.secret("set-attributes", "az-attributes", "--enabled", "false")
    az.refused(1, "SecretDisabled", "show", "az-attributes")
    az.secret("set-attributes", "az-attributes", "--enabled", "true")
    assert az.secret("show", "az-attributes")["value"] == "x"


def delete_list_recover(az: Az) -> None:
    made = az.secret("set", "az-delete", "--value", "x")
    answer = az.secret("delete", "az-delete")
    assert answer["id"] == made["id"] and answer["recoveryId"] == f"{URL}/deletedsecrets/az-delete", answer
    assert "az-delete" in [item["name"] for item in az.secret("list-deleted")]
    shown = az.secret("show-deleted", "az-delete")
    gone, end = (datetime.datetime.fromisoformat(shown[key]) for key in ("deletedDate", "scheduledPurgeDate"))
    assert end - gone == datetime.timedelta(days=90), shown
    az.refused(3, "not found", "show", "az-delete")
    az.refused(1, "ObjectIsDeletedButRecoverable", "set", "az-delete", "--value", "y")
    assert az.secret("recover", "az-delete")["id"] == made["id"]
    assert az.secret("show", "az-delete")["value"] == "x"


def purge(az: Az) -> None:
    az.secret("set", "az-purge", "--value", "x")
    az.secret("delete", "az-purge")
    az.secret("purge", "az-purge")
    az.refused(1, "SecretNotFound", "show-deleted", "az-purge")
    assert len(az.secret("list-versions", "az-purge")) == 0


def backup_and_restore(az: Az) -> None:
    made = az.secret("set", "az-backup", "--value", TEXT)
    blob = str(az.directory / "blob")
    az.secret("backup", "az-backup", "--file", blob)
    assert TEXT.encode() not in pathlib.Path(blob).read_bytes()
    az.secret("delete", "az-backup")
    az.secret("purge", "az-backup")
    assert az.secret("restore", None, "--file", blob)["id"] == made["id"]
    assert az.secret("show", "az-backup")["value"] == TEXT


def content_for(encoding: str) -> bytes:
    """What a file set with this encoding may hold: az reads and writes every text as the locale's, UTF-8."""
    if encoding in ("base64", "hex"):
        return bytes(range(256)) * 4
    return ("plain" if encoding == "ascii" else TEXT).encode()


def file_round_trip(az: Az, encoding: str) -> None:
    """A file set with an encoding, downloaded with it, and by the tag alone."""
    source, name, data = az.directory / f"in-{encoding}", f"az-file-{encoding}", content_for(encoding)
    source.write_bytes(data)
    made = az.secret("set", name, "--file", str(source), "--encoding", encoding)
    assert made["tags"] == {"file-encoding": encoding}, made["tags"]
    for number, words in enumerate(([], ["--encoding", encoding])):
        target = az.directory / f"out-{encoding}-{number}"
        az.secret("download", name, "--file", str(target), *words)
        assert target.read_bytes() == data, f"{words}: {target.read_bytes()[:40]!r}"


def file_through_a_mount(az: Az, encoding: str) -> None:
    """What az set is what a mount's files/ has; what is saved there is what az downloads, bytes included."""
    name, data = f"az-mount-{encoding}", content_for(encoding)
    source, target = az.directory / f"mount-in-{encoding}", az.directory / f"mount-out-{encoding}"
    source.write_bytes(data)
    az.secret("set", name, "--file", str(source), "--encoding", encoding)
    with Mount() as root:
        assert (root / "files" / name).read_bytes() == data
        for saved in (data[::2], b"bytes \xff\x00"):
            (root / "files" / name).write_bytes(saved)
            az.secret("download", name, "--file", str(target), "--overwrite")
            assert target.read_bytes() == saved, target.read_bytes()[:40]


def files_as_in_the_fixture(_az: Az) -> None:
    """What akvfs' own tests believe of az."""
    assert az_files.FIXTURE.read_text() == az_files.all_of_it(), "see what changed by az_files.py --write"


def what_is_not_there(az: Az) -> None:
    for verb in ("show", "delete", "show-deleted", "purge"):
        az.refused(3 if verb == "show" else 1, "SecretNotFound", verb, "az-nothing")


def the_identity_was_asked(_az: Az) -> None:
    assert any("localhost" in path for path in Identity.asked), Identity.asked


CHECKS = [
    set_and_show, versions, lists, every_page, names_have_no_case, set_attributes, delete_list_recover, purge,
    backup_and_restore, what_is_not_there, the_identity_was_asked, files_as_in_the_fixture,
]


def main() -> None:
    checks = Checks()
    identity = serve(Identity)
    manager = serve(ResourceManager, certificate.context(os.environ["AKV_CA"], "localhost"))
    with tempfile.TemporaryDirectory(prefix="akvfs-az-") as directory:
        az = Az(sys.argv[1], directory, identity, manager)
        asyncio.run(checks.run("sign_in", az.sign_in))
        signed_in = not checks.failed
        for check in CHECKS if signed_in else []:
            asyncio.run(checks.run(check.__name__, check, az))
        for encoding in az_files.ENCODINGS if signed_in else []:
            asyncio.run(checks.run(f"file and download {encoding}", file_round_trip, az, encoding))
            if os.access("/dev/fuse", os.W_OK):
                asyncio.run(checks.run(f"file through a mount {encoding}", file_through_a_mount, az, encoding))
    checks.finish()


if __name__ == "__main__":
    main()
