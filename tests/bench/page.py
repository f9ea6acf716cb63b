"""From the figures in results/ to the tables and plots of docs/performance.md. `page.py` writes them, `page.py --check` fails
where the page shows others."""

import json
import math
import pathlib
import statistics
import sys

import plots

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).resolve().parent / "results"
DOCS = ROOT / "docs"
PAGE = DOCS / "performance.md"

OPERATIONS = {
    "open": "open, read, close of 64 files",
    "open-each": "of 10,000",
    "stat": "stat",
    "mmap": "open, map, close",
    "ls-l": "ls -l",
}
# What part of tmpfs's rate a read-only mount shall have, and what part of the bare filesystem's a writable one.
OF_TMPFS = {"open": 0.65, "open-each": 0.65, "stat": 0.85, "mmap": 0.85, "ls-l": 0.8}
OF_BARE = {"open": 0.8, "open-each": 0.8}
PEERS = ("libfuse passthrough_ll", "sshfs", "rclone mount")

median = statistics.median


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def held(what, value, shown, wanted, unit=""):
    """A row of a figure that shall be at most `wanted`."""
    verdict = "" if value <= wanted else " **missed**"
    return [what, shown, f"at most {wanted:g}{unit}{verdict}"]


def free(what, shown):
    return [what, shown, ""]


HELD = ["", "measured", "wanted"]


def warm(of):
    best = {op: {name: max(rates) for name, rates in by.items()} for op, by in of["rates"].items()}
    middle = {op: {name: median(rates) for name, rates in by.items()} for op, by in of["rates"].items()}
    part = lambda rates, op, name, beside: rates[op][name] / rates[op][beside]
    names = [name for name in best["open"] if name != "tmpfs"]
    row = lambda name: [name, *(f"{part(best, op, name, 'tmpfs'):.2f} ({part(middle, op, name, 'tmpfs'):.2f})" for op in OPERATIONS)]
    rows = [["tmpfs, a second", *(f"{best[op]['tmpfs']:,.0f}" for op in OPERATIONS)], *map(row, names)]
    words = [table(["", *OPERATIONS.values()], rows)]
    words += [f"{name} was not there to be measured: {remedy}." for name, remedy in of["lacking"].items()]
    figures = []
    for name, beside, wanted in (("akvfs, ro", "tmpfs", OF_TMPFS), ("akvfs, rw", "bare fuser", OF_BARE)):
        for op, least in wanted.items():
            value = part(best, op, name, beside)
            verdict = "" if value >= least else " **missed**"
            title = OPERATIONS[op] if op != "open-each" else "open, read, close of 10,000"
            figures.append([f"{name}: {title}, part of {beside}", f"{value:.2f}", f"at least {least}{verdict}"])
    for peer in PEERS:
        if peer in best["open"]:
            behind = [OPERATIONS[op] for op in OPERATIONS if best[op]["akvfs, ro"] < best[op][peer]]
            figures.append([f"akvfs, ro, ahead of {peer}", "all" if not behind else "not in " + "; ".join(behind), "all" if not behind else "all **missed**"])
    words.append(table(HELD, figures))
    return "\n\n".join(words)


def warm_plot(of):
    best = {op: {name: max(rates) for name, rates in by.items()} for op, by in of["rates"].items()}
    shown = [name for name in best["open"] if name != "tmpfs"]
    heights = {op: {name: best[op][name] / best[op]["tmpfs"] for name in shown} for op in OPERATIONS}
    return plots.bars("Warm, as a part of tmpfs", list(OPERATIONS), shown, heights)


def messages(of):
    acts = list(next(iter(of.values())))
    told = lambda cost: ", ".join(f"{call.upper()} {count:.0f}" for call, count in sorted(cost.items())) or "0"
    return table(["", *of], [[act, *(told(of[how][act]) for how in of)] for act in acts])


def cold(of):
    of = {int(count): {name: median(times) for name, times in by.items()} for count, by in of.items()}
    most = max(of)
    one, sixteen = of[most]["one"], of[most]["16"]

    def row(what, time, wanted=True):
        missed = wanted and (one / time < 10 or time / sixteen > 1.3)
        return [what, f"{time:.2f} s", f"{one / time:.1f}", f"{time / sixteen:.2f}" + (" **missed**" if missed else "")]

    rows = [row("bare client, one after another", one, False), row("bare client, 16 at a time", sixteen, False)]
    walks = [name for name in of[most] if name not in ("one", "16", "off")]
    rows += [row(f"`{name}`" if " of " not in name else name, of[most][name]) for name in walks]
    rows.append(row("`cat secrets/*/value`, `prefetch=off`", of[most]["off"], False))
    head = [f"{most:,} secrets", "time", "times faster than one after another (wanted: 10)", "times the 16's (wanted: 1.3)"]
    return table(head, rows)


def cold_plot(of):
    of = {int(count): {name: median(times) for name, times in by.items()} for count, by in of.items()}
    names = {"one": "bare client, one by one", "16": "bare client, 16 at a time", "off": "akvfs, prefetch=off"}
    names |= {name: f"akvfs, {name}" for name in ("cat secrets/*/value", "tar c", "a loop of processes")}
    series = {title: [(count, of[count][name]) for count in sorted(of)] for name, title in names.items()}
    return plots.lines("A cold walk, 20 ms an answer", "secrets", "seconds", series)


def single(of):
    trip, times, asked = of["trip"], {name: median(all_of) for name, all_of in of["times"].items()}, of["requests"]
    ms = lambda seconds: f"{seconds * 1000:.1f} ms"
    trips = lambda seconds: f"{ms(seconds)}, {seconds / trip:.2f} round trips"
    limit = lambda count, more: f"{count} round trips and {more} ms: {(count * trip * 1000 + more):.1f} ms"

    def within(what, seconds, count, more):
        verdict = "" if seconds <= count * trip + more / 1000 else " **missed**"
        return [what, trips(seconds), f"at most {limit(count, more)}{verdict}"]

    ratio = min(of["times"]["list"]) / min(of["times"]["wire"])
    rows = [
        free("a round trip of the bare client", ms(trip)),
        within("a mount, from the command to the prompt", times["mount"], 3, 50),
        within("open, read and close of one value", times["cat"], 1.15, 3),
        free("the bare client, 400 pages one after another", f"{times['wire']:.2f} s"),
        within("`ls secrets`, the first name", times["first"], 1.15, 3),
        held("`ls secrets`, all 10,000", ratio, f"{times['list']:.2f} s, {ratio:.3f} of the bare client", 1.05),
        free("`ls secrets`, requests", f"{asked['ls']}"),
        held("`ls -l secrets` on another new mount, requests", asked["long"], f"{asked['long']}", asked["ls"]),
        held("the second `ls secrets`, requests", asked["again"], f"{asked['again']}, {ms(times['again'])}", 0),
    ]
    return table(HELD, rows)


def hung(of):
    ms = lambda microseconds: f"{microseconds / 1000:.2f} ms"
    row = lambda what, runs: [what, ms(median(run[0] for run in runs)), ms(max(run[1] for run in runs))]
    worst = max(run[1] for run in of["hangs"]) / 1000
    moved = median(run[0] for run in of["hangs"]) / median(run[0] for run in of["answers"])
    rows = [row("a vault that answers", of["answers"]), row(f"a vault that hangs, and {of['waiting']} readers that wait for it", of["hangs"])]
    words = table([f"{of['reads']:,} reads, {len(of['hangs'])} times", "median", "longest"], rows)
    figures = [held("the longest read while the vault hangs", worst, f"{worst:.2f} ms", 50, " ms")]
    figures.append(held("its median to that of a vault that answers", moved, f"{moved:.2f}", 1.1))
    return words + "\n\n" + table(HELD, figures)


def memory(of):
    more, bound = of["full"] - of["empty"], of["limit"] * 1.05
    walked = of["walked"] - of["listed"]
    rows = [
        free("a mount that was asked nothing", f"{of['empty']:.1f} MiB"),
        held("10,000 secrets of 1 KiB read, beyond that", more, f"{more:.1f} MiB", 40, " MiB"),
        held(f"counted, `cache_size={of['limit']}MiB` after a walk through ten times as much", of["held"], f"{of['held']:.1f} MiB", bound, " MiB"),
        free("and what the daemon grew by in that walk, what it knows of 26,214 files included", f"{walked:.1f} MiB"),
    ]
    return table(HELD, rows)


def idle(of):
    part = 100 * of["used"] / of["took"]
    rows = [
        held("CPU of 10,000 secrets that were read and are not any more, `ttl=30s`", part, f"{part:.3f} % of a core", 0.1, " %"),
        held("requests in that time", of["asked"], f"{of['asked']} in {of['took']:.0f} s", 0),
    ]
    return table(HELD, rows)


def fleet(of):
    counts = sorted({row["secrets"] for row in of})
    at = {(row["ttl"], row["secrets"]): row for row in of}
    unit = lambda ttl: f"{ttl}s" if ttl < 60 else f"{ttl // 60}min" if ttl < 3600 else f"{ttl // 3600}h"
    # Two figures: more would say more than is known.
    rough = lambda number: f"{round(number, 1 - int(math.log10(number))):,}"
    head = ["`ttl`", *(f"{count:,} secrets" for count in counts)]

    def of_all(cell):
        ttls = sorted({row["ttl"] for row in of})
        return table(head, [[f"`{unit(ttl)}`", *(cell(at[ttl, count]) for count in counts)] for ttl in ttls])

    steady = of_all(lambda row: f"{rough(row['mounts'])} ({row['per_minute']:.2g})")
    bursts = of_all(lambda row: f"{rough(row['start'])}; {rough(row['back'])}")
    return (
        "Mounts that are left alone, and in brackets what each asks in a minute:\n\n"
        + steady
        + "\n\nMounts that may all start at the same moment, after their first reads; that may all lose the vault and find it again:\n\n"
        + bursts
    )


PARTS = {"warm": warm, "messages": messages, "cold": cold, "single": single, "hung": hung, "memory": memory, "idle": idle, "fleet": fleet}
PLOTS = {"warm": warm_plot, "cold": cold_plot}


def result(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def part(name):
    told = result(name)
    if not told:
        return "Not measured yet."
    of = told["run"]
    load = " ".join(f"{load:.1f}" for load in of["load"])
    where = f"{of['date']}, commit {of['commit']}, {of['processor']}, {of['kernel']}, load {load} when it began."
    plot = f"\n\n![{name}](performance-{name}.svg)" if name in PLOTS else ""
    return PARTS[name](told["figures"]) + plot + "\n\n<sub>" + where + "</sub>"


def texts():
    """What the page and the plots shall be, by path."""
    text = PAGE.read_text()
    for name in PARTS:
        begin, end = f"<!-- bench:{name} -->\n", f"\n<!-- /bench:{name} -->"
        before, rest = text.split(begin, 1)
        text = before + begin + part(name) + end + rest.split(end, 1)[1]
    found = {PAGE: text}
    for name, plot in PLOTS.items():
        if told := result(name):
            found[DOCS / f"performance-{name}.svg"] = plot(told["figures"])
    return found


def write():
    for path, text in texts().items():
        path.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        stale = [str(path.relative_to(ROOT)) for path, text in texts().items() if not path.exists() or path.read_text() != text]
        sys.exit(f"{', '.join(stale)}: not what tests/bench/results gives; run tests/bench/page.py" if stale else 0)
    write()
