"""What scripts/bench measures, a part at a time. A part's figures go to results/PART.json as they were measured; page.py
makes of them what docs/performance.md shows."""

import contextlib
import datetime
import json
import mmap
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time

import page
from stage import *

FILES, SMALLEST, LARGEST = 10_000, 64, 25_600
LATENCY = 0.020
SLOW = ("--latency", f"{LATENCY * 1000:.0f}ms")
LONG = f"ttl=1h,kernel_ttl=1h,negative_ttl=1h,{UNLIMITED}"
MIB = 1 << 20



def warm(repetitions=3, seconds=0.5):
    """How often a second each thing can be done on each filesystem, in turns. All have the files in their directory files: each
    directory on the way to a file costs."""
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(tmpfs())
        (local / "files").mkdir()
        run(CLIENT, "files", local / "files", FILES, SMALLEST, LARGEST)
        vault = stack.enter_context(Vault(FILES, SMALLEST, LARGEST))
        mounts, lacking = {"tmpfs": local}, {}
        mounts["akvfs, ro"] = stack.enter_context(akvfs(vault, f"ro,cache_size=256MiB,{LONG}"))
        mounts["akvfs, rw"] = stack.enter_context(akvfs(vault, f"cache_size=256MiB,{LONG}"))
        mounts["bare fuser"] = stack.enter_context(spawned(KEEP, "DIR", local / "files"))
        for name, make in PEERS.items():
            made = make(local)
            if isinstance(made, str):
                lacking[name] = made
            else:
                mounts[name] = stack.enter_context(made)
        places = {name: mount / "files" for name, mount in mounts.items()}
        for directory in places.values():
            timed('for i in 1 2; do cat "$M"/* | wc -c; ls -l "$M" | wc -l; done', directory)
        rates = {op: {name: [] for name in places} for op in page.OPERATIONS}
        for _ in range(repetitions):
            for op in page.OPERATIONS:
                for name, directory in places.items():
                    rates[op][name] += client("warm", op, directory, seconds)
    return {"rates": rates, "lacking": lacking}


def with_open(path, act):
    file = os.open(path, os.O_RDONLY)
    try:
        return act(file)
    finally:
        os.close(file)


def first_of_map(file):
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as mapping:
        return mapping[0]


ACTS = {
    "open, read, close": lambda of: with_open(of / "files/f00001", lambda file: os.read(file, MIB)),
    "open, map, close": lambda of: with_open(of / "files/f00001", first_of_map),
    "Python's `open`, read, close": lambda of: (of / "files/f00001").read_bytes(),
    "stat": lambda of: os.stat(of / "files/f00001"),
    "stat of a missing name": lambda of: os.path.exists(of / "files/.htaccess"),
    "`ls secrets`": lambda of: os.listdir(of / "secrets"),
}


def messages(rounds=100):
    """What the kernel asks the daemon for one warm act."""

    def cost(directory, act):
        [act(directory) for _ in range(3)]
        time.sleep(0.1)
        first, second = asked_by_the_kernel(directory), asked_by_the_kernel(directory)
        [act(directory) for _ in range(rounds)]
        # RELEASE is sent behind the back of who closes.
        time.sleep(0.1)
        third = asked_by_the_kernel(directory)
        looking = {call: count - first.get(call, 0) for call, count in second.items()}
        spent = {call: count - second.get(call, 0) - looking.get(call, 0) for call, count in third.items()}
        return {call: count / rounds for call, count in spent.items() if round(count / rounds, 1) > 0}

    found = {}
    with Vault(30) as vault:
        for how in ("ro", "rw", "ro,audit"):
            with akvfs(vault, f"{how},{LONG}") as directory:
                found[how] = {name: cost(directory, act) for name, act in ACTS.items()}
    return found


WALKS = {
    "cat secrets/*/value": 'cat "$M"/secrets/*/value | wc -c',
    "grep -r": 'grep -r nothing "$M/files" || true',
    "tar c": 'tar c -C "$M" files | wc -c',
    "cp -r": 'cp -r "$M/files" "$T"',
    "ls -l files": 'ls -l "$M/files" | wc -l',
    "a loop of processes": 'for f in "$M"/files/*; do cat "$f"; done | wc -c',
}


def cold(repetitions=3):
    """Walks through mounts that know the names and no value, and the same values by a bare client. Who asks for one after
    another waits so many times the latency that once tells it."""
    walks = {}
    for count in (10, 100, 1000):
        with Vault(count, 1024, 1025, *SLOW) as vault:
            times = {name: [] for name in ["16", *WALKS]}
            times["one"] = client("wire", vault.addr, 1, count)
            with akvfs(vault, "ro,ttl=10m,prefetch=off") as directory:
                timed('ls "$M/secrets"', directory)
                times["off"] = [timed(WALKS["cat secrets/*/value"], directory)]
            for _ in range(repetitions):
                times["16"] += client("wire", vault.addr, 16, count)
                for name, script in WALKS.items():
                    with akvfs(vault, "ro,ttl=10m") as directory:
                        timed('ls "$M/secrets"', directory)
                        before = asked_of_the_vault(directory)
                        times[name].append(timed(script, directory))
                        asked = asked_of_the_vault(directory) - before
                        assert asked == count, f"{name}: {asked} requests for {count} secrets"
            walks[count] = times
    return walks


def single(repetitions=10):
    """A mount, one value, and the listing of 10,000 secrets."""
    times = {name: [] for name in ("mount", "cat", "first", "list", "wire", "long", "again")}
    requests = {}
    with Vault(FILES, 1024, 1025, *SLOW) as vault:
        trip = client("wire", vault.addr, 1, 50)[0] / 50
        for number in range(repetitions):
            start = time.monotonic()
            with akvfs(vault, "ro") as directory:
                times["mount"].append(time.monotonic() - start)
                path = directory / f"secrets/f{number:05}/value"
                start = time.monotonic()
                path.read_bytes()
                times["cat"].append(time.monotonic() - start)
        for _ in range(2):
            pages, seconds = client("pages", vault.addr)
            times["wire"].append(seconds)
            with akvfs(vault, "ro,ttl=10m") as directory:
                marks = [asked_of_the_vault(directory)]
                first, whole, count = client("first", directory / "secrets")
                assert count == FILES, count
                times["first"].append(first)
                times["list"].append(whole)
                marks.append(asked_of_the_vault(directory))
                times["again"].append(timed('ls "$M/secrets" | wc -l', directory))
                marks.append(asked_of_the_vault(directory))
            with akvfs(vault, "ro,ttl=10m") as directory:
                before = asked_of_the_vault(directory)
                times["long"].append(timed('ls -l "$M/secrets" | wc -l', directory))
                long = asked_of_the_vault(directory) - before
            requests = {"pages": pages, "ls": marks[1] - marks[0], "again": marks[2] - marks[1], "long": long}
    return {"trip": trip, "times": times, "requests": requests}


def hung(rounds=3, reads=1000):
    """Reads of what is cached, of a vault that answers and of one that does not, in turns, in microseconds."""
    answers, hangs, waiting = [], [], 0
    with Vault(1000) as vault, akvfs(vault, f"timeout=20s,{LONG}") as directory:
        kept = directory / "files/f00000"
        kept.read_bytes()
        for number in range(rounds):
            answers.append(client("hold", kept, reads))
            vault.process.send_signal(signal.SIGSTOP)
            try:
                paths = [directory / f"files/f{100 * (number + 1) + at:05}" for at in range(64)]
                readers = [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for path in paths]
                time.sleep(0.5)
                hangs.append(client("hold", kept, reads))
                waiting = sum(reader.poll() is None for reader in readers)
            finally:
                vault.process.send_signal(signal.SIGCONT)
            [reader.wait() for reader in readers]
    return {"answers": answers, "hangs": hangs, "waiting": waiting, "reads": reads}


def memory_used():
    """What the daemon has for itself before and after a walk; and with a cache that a walk does not fit into."""
    with Vault(FILES) as vault, akvfs(vault, LONG) as directory:
        empty = memory(pid(directory))
        timed('cat "$M"/files/* | wc -c', directory)
        full = memory(pid(directory))
    found = {"empty": empty, "full": full}
    limit = 64
    with Vault(10 * limit * MIB // LARGEST, LARGEST - 1, LARGEST) as vault:
        with akvfs(vault, f"ro,cache_size={limit}MiB,{LONG}") as directory:
            timed('ls "$M/secrets" | wc -l', directory)
            listed = memory(pid(directory))
            timed('cat "$M"/files/* | wc -c', directory)
            process = pid(directory)
            found |= {"limit": limit, "listed": listed, "walked": memory(process), "held": metric(directory, "akvfs_cache_bytes") / MIB}
    return found


def idle(seconds=90):
    """The CPU of a mount whose 10,000 secrets were all read, once nobody reads them any more."""
    with Vault(FILES) as vault, akvfs(vault, f"ttl=30s,kernel_ttl=10s,{UNLIMITED}") as directory:
        timed('cat "$M"/files/* | wc -c', directory)
        # In use is what was asked for within two times to live.
        time.sleep(65)
        process, asked = pid(directory), asked_of_the_vault(directory)
        used, start = seconds_of_cpu(process), time.monotonic()
        time.sleep(seconds)
        used, took = seconds_of_cpu(process) - used, time.monotonic() - start
        return {"used": used, "took": took, "asked": asked_of_the_vault(directory) - asked}


def fleet():
    """The simulation is a test; asked for the table, it writes it."""
    with tempfile.NamedTemporaryFile("r") as file:
        run("cargo", "test", "--locked", "--quiet", "--test", "fleet", "the_table", cwd=ROOT, timeout=900, env={**os.environ, "AKVFS_FLEET": file.name})
        return json.load(file)


PARTS = {
    "warm": warm,
    "messages": messages,
    "cold": cold,
    "single": single,
    "hung": hung,
    "memory": memory_used,
    "idle": idle,
    "fleet": fleet,
}


def machine():
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()
    changed = run("git", "-C", ROOT, "status", "--porcelain", "--", "src", "Cargo.lock").strip()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit + (" with changes" if changed else ""),
        "processor": f"{os.cpu_count()} cores of {processor.group(1) if processor else 'an unknown processor'}",
        "kernel": f"Linux {platform.release().split('-')[0]}",
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def measure(part):
    """A part that fails leaves the figures that there were."""
    run_of = machine()
    start = time.monotonic()
    figures = PARTS[part]()
    result = {"part": part, "run": run_of, "figures": figures}
    page.RESULTS.mkdir(exist_ok=True)
    (page.RESULTS / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"bench: {part} took {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := [part for part in wanted if part not in PARTS]:
        raise SystemExit(f"bench: no part is called {' or '.join(unknown)}; the parts: {' '.join(PARTS)}")
    for part in wanted:
        measure(part)
        page.write()
        print(page.part(part))
