"""What scripts/bench measures. Each part gives a table; all figures of a table are of one run, its repetitions taken in turns
by everything that is compared, and each is the median of them unless it says otherwise."""

import datetime
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import plots

ROOT = pathlib.Path(__file__).resolve().parents[2]
AKVFS = ROOT / "target/release/akvfs"
CLIENT = ROOT / "target/bench/release/client"
KEEP = ROOT / "target/bench/release/keep"
PAGE = ROOT / "docs/performance.md"
EXAMPLES = pathlib.Path("/usr/share/doc/libfuse3-dev/examples")

FILES, SMALLEST, LARGEST = 10_000, 64, 25_600
LATENCY = 0.020
FREE = "max_requests=100000/s"


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **more)
    if done.returncode != 0:
        raise SystemExit(f"bench: {words} failed: {done.stderr.strip()}")
    return done.stdout


def client(*words):
    return [float(word) for word in run(CLIENT, *words).split()]


class Vault:
    def __init__(self, *options):
        words = [str(AKVFS), "serve", "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.addr = self.url.removeprefix("http://")

    def seed(self, count, smallest, largest):
        run(CLIENT, "seed", self.addr, count, smallest, largest)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Place:
    """A directory that something is mounted on, until the end."""

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


def until_mounted(directory):
    for _ in range(200):
        if f" {directory} " in pathlib.Path("/proc/self/mountinfo").read_text():
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: nothing is mounted on {directory}")


def spawned(*words):
    def mount(directory):
        line = [str(word).replace("DIR", str(directory)) for word in words]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_mounted(directory)
        return process

    return Place(mount)


def pid(directory):
    return int(re.search(r'"pid": (\d+)', (directory / ".akvfs/status.json").read_text()).group(1))


def resident(process):
    """Resident memory that is nobody else's, in MiB: without the pages of the program's file."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024


def seconds_of_cpu(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(script, directory):
    with tempfile.TemporaryDirectory() as aside:
        start = time.monotonic()
        run("bash", "-c", script, env={**os.environ, "M": str(directory), "T": aside})
        return time.monotonic() - start


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def put(part, words):
    text = PAGE.read_text()
    begin, end = f"<!-- bench:{part} -->", f"<!-- /bench:{part} -->"
    if begin not in text:
        raise SystemExit(f"bench: {PAGE} has no place for {part}")
    before, rest = text.split(begin, 1)
    PAGE.write_text(before + begin + "\n" + words.strip() + "\n" + end + rest.split(end, 1)[1])
    print(f"\n{words}\n")


# Warm.

OPERATIONS = {"open": "open, read, close", "open-each": "the same, 10,000 files", "stat": "stat", "mmap": "open, map, close", "ls-l": "ls -l"}


def peers(stack, tmpfs):
    """Other filesystems of the same files, where they are installed."""
    found = {"fuser, KEEP_CACHE": stack(spawned(KEEP, "DIR", tmpfs))}
    if (EXAMPLES / "passthrough_ll.c").exists() and shutil.which("pkg-config"):
        program = ROOT / "target/bench/passthrough_ll"
        flags = run("pkg-config", "fuse3", "--cflags", "--libs").split()
        run("gcc", "-O2", "-I", EXAMPLES, EXAMPLES / "passthrough_ll.c", "-o", program, *flags)
        found["libfuse passthrough_ll"] = stack(spawned(program, "-f", "-o", f"source={tmpfs},cache=always,timeout=86400", "DIR"))
    else:
        print("bench: SKIPPED passthrough_ll: apt-get install libfuse3-dev pkg-config gcc")
    sftp = pathlib.Path("/usr/lib/openssh/sftp-server")
    if shutil.which("sshfs") and sftp.exists():
        wrapper = ROOT / "target/bench/sftp"
        wrapper.write_text(f"#!/bin/sh\nexec {sftp}\n")
        wrapper.chmod(0o755)
        long = "kernel_cache,entry_timeout=86400,attr_timeout=86400,dcache_timeout=86400"
        found["sshfs"] = stack(spawned("sshfs", "-f", "-o", f"ssh_command={wrapper},{long}", f"bench:{tmpfs}", "DIR"))
    else:
        print("bench: SKIPPED sshfs: apt-get install sshfs openssh-sftp-server")
    if shutil.which("rclone"):
        long = ["--attr-timeout", "24h", "--dir-cache-time", "24h", "--poll-interval", "0"]
        found["rclone mount"] = stack(spawned("rclone", "mount", f":local:{tmpfs}", "DIR", *long))
    else:
        print("bench: SKIPPED rclone: apt-get install rclone")
    return found


def warm(repetitions, seconds):
    from contextlib import ExitStack

    with ExitStack() as all_of_it:
        stack = all_of_it.enter_context
        tmpfs = stack(spawned("mount", "-t", "tmpfs", "bench", "DIR"))
        run(CLIENT, "files", tmpfs, FILES, SMALLEST, LARGEST)
        vault = stack(Vault()).seed(FILES, SMALLEST, LARGEST)
        long = f"ttl=1h,kernel_ttl=1h,prefetch=64,cache_size=256MiB,{FREE}"
        targets = {"tmpfs": tmpfs, "akvfs, ro": stack(akvfs(vault, f"ro,{long}")) / "files"}
        targets["akvfs, rw"] = stack(akvfs(vault, long)) / "files"
        targets |= peers(stack, tmpfs)
        for directory in targets.values():
            run("bash", "-c", f'for i in 1 2 3; do cat "{directory}"/* | wc -c; ls -l "{directory}" | wc -l; done')
        rates = {op: {name: [] for name in targets} for op in OPERATIONS}
        for _ in range(repetitions):
            for op in OPERATIONS:
                for name, directory in targets.items():
                    rates[op][name] += client("warm", op, directory, seconds)
    medians = {op: {name: statistics.median(all) for name, all in by.items()} for op, by in rates.items()}
    best = {op: {name: max(all) for name, all in by.items()} for op, by in rates.items()}
    ratio = lambda of: {op: {name: of[op][name] / of[op]["tmpfs"] for name in targets} for op in OPERATIONS}
    middle, top = ratio(medians), ratio(best)
    rows = [[name, *(f"{middle[op][name]:.2f} ({top[op][name]:.2f})" for op in OPERATIONS)] for name in targets]
    rates_of = [["tmpfs, a second", *(f"{medians[op]['tmpfs']:,.0f}" for op in OPERATIONS)]]
    head = ["", *OPERATIONS.values()]
    keep = {op: best[op]["akvfs, rw"] / best[op]["fuser, KEEP_CACHE"] for op in OPERATIONS}
    words = table(head, rows + rates_of)
    words += "\n\nThe writable mount beside the bare fuser filesystem, best of each: "
    words += ", ".join(f"{OPERATIONS[op]} {keep[op]:.2f}" for op in OPERATIONS) + "."
    put("warm", words)
    shown = [name for name in targets if name != "tmpfs"]
    svg = plots.bars("Warm, as a part of tmpfs", list(OPERATIONS), shown, middle)
    (ROOT / "docs/performance-warm.svg").write_text(svg)


# Cold.

WALKS = {
    "cat secrets/*/value": 'cat "$M"/secrets/*/value | wc -c',
    "grep -r": 'grep -r nothing "$M/files" || true',
    "tar c": 'tar c -C "$M" files | wc -c',
    "cp -r": 'cp -r "$M/files" "$T"',
    "ls -l": 'ls -l "$M/files" | wc -l',
    "a shell's loop": 'for f in "$M"/files/*; do cat "$f"; done | wc -c',
}


def cold(repetitions):
    counts = [10, 100, 1000]
    with_one, with_16, walked, without = [], [], {}, {}
    with tempfile.TemporaryDirectory():
        for count in counts:
            with Vault("--latency", f"{LATENCY * 1000:.0f}ms").seed(count, 1024, 1025) as vault:
                times = {name: [] for name in ["one", "16", "off", *WALKS]}
                for _ in range(repetitions):
                    times["one"] += client("wire", vault.addr, 1, count)
                    times["16"] += client("wire", vault.addr, 16, count)
                    with akvfs(vault, "ro,prefetch=off") as directory:
                        timed('ls "$M/secrets"', directory)
                        times["off"].append(timed(WALKS["cat secrets/*/value"], directory))
                    for name, script in WALKS.items():
                        with akvfs(vault, "ro") as directory:
                            timed('ls "$M/secrets"', directory)
                            times[name].append(timed(script, directory))
            medians = {name: statistics.median(all) for name, all in times.items()}
            with_one.append((count, medians["one"]))
            with_16.append((count, medians["16"]))
            without[count] = medians["off"]
            walked[count] = medians
    medians = walked[1000]
    row = lambda name, time: [name, f"{time:.2f} s", f"{medians['one'] / time:.1f}", f"{time / medians['16']:.2f}"]
    rows = [row("bare client, one after another", medians["one"]), row("bare client, 16 at a time", medians["16"])]
    rows += [row(f"akvfs, {name}", medians[name]) for name in WALKS]
    rows.append(row("akvfs, prefetch=off, cat secrets/*/value", medians["off"]))
    put("cold", table(["1,000 secrets", "time", "times faster than one after another", "to 16 at a time"], rows))
    series = {"bare client, one by one": with_one, "bare client, 16 at a time": with_16}
    series |= {f"akvfs, {name}": [(count, walked[count][name]) for count in counts] for name in ["cat secrets/*/value", "tar c"]}
    series["akvfs, prefetch=off"] = list(without.items())
    svg = plots.lines("A cold walk, 20 ms an answer", "secrets", "seconds", series)
    (ROOT / "docs/performance-cold.svg").write_text(svg)


def single(repetitions):
    with Vault("--latency", f"{LATENCY * 1000:.0f}ms").seed(FILES, 1024, 1025) as vault:
        trip = client("wire", vault.addr, 1, 50)[0] / 50
        mounts, cats, firsts, lists, walls, longs, again = [], [], [], [], [], [], []
        for number in range(repetitions):
            start = time.monotonic()
            with akvfs(vault, "ro") as directory:
                mounts.append(time.monotonic() - start)
                path = directory / f"secrets/f{number:05}/value"
                start = time.monotonic()
                path.read_bytes()
                cats.append(time.monotonic() - start)
        for _ in range(3):
            walls.append(client("pages", vault.addr))
            with akvfs(vault, "ro,ttl=10m") as directory:
                first, whole, count = client("first", directory / "secrets")
                assert count == FILES, count
                firsts.append(first)
                lists.append(whole)
                longs.append(timed('ls -l "$M/secrets" | wc -l', directory))
                again.append(timed('ls "$M/secrets" | wc -l', directory))
    middle = statistics.median
    pages, wire = walls[0][0], middle(seconds for _, seconds in walls)
    rows = [
        ["a round trip of the bare client", f"{trip * 1000:.1f} ms", ""],
        ["mount, until it is usable", f"{middle(mounts) * 1000:.0f} ms", f"{middle(mounts) / trip:.2f} round trips"],
        ["open and read of one value", f"{middle(cats) * 1000:.1f} ms", f"{middle(cats) / trip:.2f} round trips"],
        [f"bare client, {pages:.0f} pages of 10,000 secrets", f"{wire:.2f} s", ""],
        ["`ls secrets`: the first name", f"{middle(firsts) * 1000:.0f} ms", f"{middle(firsts) / trip:.2f} round trips"],
        ["`ls secrets`: all names", f"{middle(lists):.2f} s", f"{middle(lists) / wire:.3f} of the bare client"],
        ["then `ls -l secrets`", f"{middle(longs):.2f} s", ""],
        ["then `ls secrets`", f"{middle(again):.2f} s", ""],
    ]
    put("single", table(["cold", "", ""], rows))


# Beside others.


def hung():
    with Vault().seed(200, 1024, 1025) as vault, akvfs(vault, f"ttl=1h,kernel_ttl=1h,timeout=20s,{FREE}") as directory:
        kept = directory / "files/f00000"
        kept.read_bytes()
        before = client("hold", kept, 1500)
        vault.process.send_signal(19)
        waiting = [subprocess.Popen(["cat", str(directory / f"files/f{number:05}")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for number in range(10, 74)]
        time.sleep(0.5)
        after = client("hold", kept, 1500)
        still = sum(process.poll() is None for process in waiting)
        vault.process.send_signal(18)
        [process.wait() for process in waiting]
    rows = [["a vault that answers", *(f"{time / 1000:.2f} ms" for time in before)], [f"a vault that hangs, {still} readers wait for it", *(f"{time / 1000:.2f} ms" for time in after)]]
    put("hung", table(["reading what is cached on a writable mount", "median", "longest of 1,500"], rows))


def memory():
    with Vault().seed(FILES, 1024, 1025) as vault:
        with akvfs(vault, f"ttl=1h,kernel_ttl=1h,{FREE}") as directory:
            empty = resident(pid(directory))
            timed('cat "$M"/files/* | wc -c', directory)
            full = resident(pid(directory))
        with akvfs(vault, f"ttl=30s,{FREE}") as directory:
            timed('ls "$M/secrets" | wc -l', directory)
            process = pid(directory)
            used, start = seconds_of_cpu(process), time.monotonic()
            time.sleep(65)
            idle = (seconds_of_cpu(process) - used) / (time.monotonic() - start)
        with akvfs(vault, f"ttl=1h,cache_size=1MiB,{FREE}") as directory:
            timed('cat "$M"/files/* | wc -c', directory)
            metrics = (directory / ".akvfs/metrics").read_text()
            held = int(re.search(r"^akvfs_cache_bytes (\d+)", metrics, re.M).group(1))
    rows = [
        ["memory of an empty mount", f"{empty:.1f} MiB"],
        ["10,000 secrets of 1 KiB in it, beyond that", f"{full - empty:.1f} MiB"],
        ["`cache_size=1MiB` after a walk through 10 MiB", f"{held / (1 << 20):.3f} MiB held"],
        ["CPU of an idle mount of 10,000 secrets, `ttl=30s`", f"{idle * 100:.2f} % of a core"],
    ]
    put("memory", table(["", ""], rows))


def machine():
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    commit = run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()
    words = f"{os.cpu_count()} cores of {processor.group(1) if processor else 'an unknown processor'}, Linux {platform.release()}"
    put("machine", f"Measured on {date}, commit {commit}: {words}; load {load} when it began.")


PARTS = {
    "warm": lambda: warm(3, 1.0),
    "cold": lambda: cold(3),
    "single": lambda: single(15),
    "hung": hung,
    "memory": memory,
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    machine()
    for part in wanted:
        PARTS[part]()
