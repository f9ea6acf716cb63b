#!/usr/bin/env python3
"""Runs a command beside a fresh local vault served over TLS: with_vault.py [--defect NAME] [SERVE-OPTION...] -- COMMAND...

What it knows: how `akvfs serve` is started, and which variables make each client find and trust it. It knows no client.
The name akv.localhost must resolve; where it does not, the command runs in a mount namespace with an /etc/hosts of its
own, so that the machine's stays untouched. The exit code is the command's.

For the command: AKV_URL (https://akv.localhost:PORT), AKV_CA (the authority's file), and the variables by which each
client trusts it: SSL_CERT_FILE (Rust), NODE_EXTRA_CA_CERTS (JavaScript), REQUESTS_CA_BUNDLE (az).
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HOST = "akv.localhost"
HERE = pathlib.Path(__file__).resolve().parent
INSIDE = "AKV_NAMESPACE"


def akvfs() -> str:
    """The binary under test: AKVFS, or the debug build."""
    return os.environ.get("AKVFS") or str(HERE.parent.parent / "target" / "debug" / "akvfs")


def resolves() -> bool:
    try:
        return bool(socket.getaddrinfo(HOST, 0))
    except OSError:
        return False


def enter_namespace() -> None:
    """Runs this program again where /etc/hosts can be another; returns only there."""
    if os.environ.get(INSIDE):
        give_name()
        return
    unshare = shutil.which("unshare")
    if not unshare:
        sys.exit(f"{HOST} does not resolve and unshare is missing; add this line to /etc/hosts: 127.0.0.1 {HOST}")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    os.environ[INSIDE] = "yes"
    os.execv(unshare, [unshare, "--mount", *as_root, sys.executable, *sys.argv])


def give_name() -> None:
    """An /etc/hosts with our name, over the machine's, in this namespace."""
    with tempfile.NamedTemporaryFile("w", prefix="akvfs-hosts-") as hosts:
        hosts.write(pathlib.Path("/etc/hosts").read_text() + f"\n127.0.0.1 {HOST}\n")
        hosts.flush()
        os.chmod(hosts.name, 0o644)
        subprocess.run(["mount", "--bind", hosts.name, "/etc/hosts"], check=True)
    if not resolves():
        sys.exit(f"{HOST} does not resolve in spite of its line in /etc/hosts; does nsswitch.conf name files?")


def start(directory: str, options: list[str]) -> tuple[subprocess.Popen, int]:
    """A vault on a free port, with its authority in `directory`/tls."""
    command = [akvfs(), "serve", "--listen", "127.0.0.1:0", "--tls", f"{directory}/tls", *options]
    with open(f"{directory}/serve.log", "w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = server.stdout.readline()
    if not line.startswith("listening on "):
        server.wait()
        sys.exit(f"akvfs serve did not start: {pathlib.Path(directory, 'serve.log').read_text()}")
    return server, int(line.strip().rsplit(":", 1)[1])


def environment(port: int, authority: str) -> dict[str, str]:
    trust = {name: authority for name in ("AKV_CA", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")}
    return {**os.environ, **trust, "AKV_URL": f"https://{HOST}:{port}", "NO_PROXY": "localhost,127.0.0.1", "AKVFS": akvfs()}


def run(defect: str | None, options: list[str], command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="akvfs-sdk-") as directory:
        server, port = start(directory, options)
        try:
            authority = f"{directory}/tls/ca.pem"
            if defect:
                import defects  # it needs a package that an ordinary run does without

                port = defects.start(defect, port, authority)
            return subprocess.run(command, env=environment(port, authority)).returncode
        finally:
            server.terminate()
            server.wait(timeout=10)


def main() -> int:
    arguments = sys.argv[1:]
    if "--" not in arguments:
        sys.exit(__doc__)
    at = arguments.index("--")
    options, command = arguments[:at], arguments[at + 1 :]
    defect = options.pop(1) if options[:1] == ["--defect"] else None
    options = options[1:] if defect else options
    if not resolves():
        enter_namespace()
    # Whoever ends this program ends the vault with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return run(defect, options, command)


if __name__ == "__main__":
    sys.exit(main())
