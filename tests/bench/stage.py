"""What is measured: vaults, mounts, and other filesystems of the same files. Each is gone at the end of its `with`."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
AKVFS = ROOT / "target/release/akvfs"
CLIENT = ROOT / "target/bench/release/client"
KEEP = ROOT / "target/bench/release/keep"
EXAMPLES = pathlib.Path("/usr/share/doc/libfuse3-dev/examples")
SFTP = pathlib.Path("/usr/lib/openssh/sftp-server")
# So many that no limit of ours is what is measured.
UNLIMITED = "max_requests=100000/s"


def run(*words, timeout=170, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, **more)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, words))} failed: {done.stderr.strip()}")
    return done.stdout


def client(*words):
    return [float(word) for word in run(CLIENT, *words).split()]


def timed(script, directory):
    """How long a shell takes for `script`, where M is the mount and T an empty directory."""
    with tempfile.TemporaryDirectory() as aside:
        start = time.monotonic()
        run("bash", "-c", script, env={**os.environ, "LC_ALL": "C", "M": str(directory), "T": aside})
        return time.monotonic() - start


class Vault:
    """`akvfs serve` with `count` secrets of sizes from `smallest` to `largest`."""

    def __init__(self, count, smallest=1024, largest=1025, *options):
        words = [str(AKVFS), "serve", "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.addr = self.url.removeprefix("http://")
        run(CLIENT, "seed", self.addr, count, smallest, largest)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Place:
    """A directory that something is mounted on by `mount`."""

    def __init__(self, mount):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.process = mount(self.dir)

    def __enter__(self):
        return self.dir

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.dir)], stderr=subprocess.DEVNULL)
        if self.process:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.dir.rmdir()


def akvfs(vault, options):
    def mount(directory):
        run(AKVFS, "mount", vault.url, directory, "-o", options)

    return Place(mount)


def tmpfs():
    def mount(directory):
        run("mount", "-t", "tmpfs", "bench", directory)

    return Place(mount)


def until_mounted(directory):
    for _ in range(200):
        if f" {directory} " in pathlib.Path("/proc/self/mountinfo").read_text():
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: nothing is mounted on {directory}")


def spawned(*words):
    """A filesystem whose program stays in the foreground; it mounts at DIR."""

    def mount(directory):
        line = [str(word).replace("DIR", str(directory)) for word in words]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_mounted(directory)
        return process

    return Place(mount)


def passthrough(source):
    """libfuse's own example, as fast as it can be: everything cached, times to live of a day."""
    if not (EXAMPLES / "passthrough_ll.c").exists() or not shutil.which("pkg-config"):
        return "apt-get install libfuse3-dev pkg-config gcc"
    program = ROOT / "target/bench/passthrough_ll"
    flags = run("pkg-config", "fuse3", "--cflags", "--libs").split()
    run("gcc", "-O2", "-I", EXAMPLES, EXAMPLES / "passthrough_ll.c", "-o", program, *flags)
    return spawned(program, "-f", "-o", f"source={source},cache=always,timeout=86400", "DIR")


def sshfs(source):
    """To a server on this machine and without cryptography: faster than any sshfs is."""
    if not shutil.which("sshfs") or not SFTP.exists():
        return "apt-get install sshfs openssh-sftp-server"
    server = ROOT / "target/bench/sftp"
    server.write_text(f"#!/bin/sh\nexec {SFTP}\n")
    server.chmod(0o755)
    long = "kernel_cache,entry_timeout=86400,attr_timeout=86400,dcache_timeout=86400"
    return spawned("sshfs", "-f", "-o", f"ssh_command={server},{long}", f"bench:{source}", "DIR")


def rclone(source):
    if not shutil.which("rclone"):
        return "apt-get install rclone"
    long = ["--attr-timeout", "24h", "--dir-cache-time", "24h", "--poll-interval", "0"]
    return spawned("rclone", "mount", f":local:{source}", "DIR", *long)


PEERS = {"libfuse passthrough_ll": passthrough, "sshfs": sshfs, "rclone mount": rclone}


def status(directory, pattern):
    return int(re.search(pattern, (directory / ".akvfs/status.json").read_text()).group(1))


def pid(directory):
    return status(directory, r'"pid": (\d+)')


def metric(directory, name):
    """The sum of a counter's samples; 0 before it counted anything."""
    page = (directory / ".akvfs/metrics").read_text()
    return sum(int(number) for number in re.findall(rf"^{re.escape(name)}\S* (\d+)", page, re.M))


def asked_of_the_vault(directory):
    return metric(directory, "akvfs_vault_operations_total")


def asked_by_the_kernel(directory):
    page = (directory / ".akvfs/metrics").read_text()
    counts = dict(re.findall(r'^akvfs_kernel_requests_total\{call="(\w+)"\} (\d+)', page, re.M))
    return {call: int(count) for call, count in counts.items() if call not in ("forget", "statfs")}


def memory(process):
    """What the process has for itself, in MiB: neither its program nor its libraries."""
    told = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", told).group(1)) / 1024


def seconds_of_cpu(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
