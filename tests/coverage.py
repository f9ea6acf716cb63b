"""What part of src/ was run, by directory, from llvm-cov's lines (lcov). Lines of tests do not count."""

import collections
import pathlib
import re
import sys

LEAST = 0.9
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Files that are tests, or are there for tests alone.
OF_TESTS = re.compile(r"tests?\.rs$|schedules|fuzzing|test_clock")


def counted(path):
    """How often each line of a file below src/ was run."""
    lines, file = collections.defaultdict(dict), None
    for line in pathlib.Path(path).read_text().splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            file = pathlib.Path(rest)
            file = file.relative_to(ROOT) if file.is_relative_to(ROOT / "src") else None
        elif kind == "DA" and file:
            number, count = (int(part) for part in rest.split(",")[:2])
            lines[file][number] = max(lines[file].get(number, 0), count)
    return lines


def without_tests(file, lines):
    """The lines above the first test: tests stand at the end of a file."""
    source = (ROOT / file).read_text().splitlines()
    end = next((at for at, line in enumerate(source) if line.startswith("#[cfg(") and "test" in line), len(source))
    return {number: count for number, count in lines.items() if number <= end}


def main():
    parts = collections.defaultdict(lambda: [0, 0])
    for file, lines in counted(sys.argv[1]).items():
        if OF_TESTS.search(str(file)):
            continue
        code = without_tests(file, lines)
        for part in ("/".join(file.parts[:2]), "all"):
            parts[part][0] += sum(1 for count in code.values() if count)
            parts[part][1] += len(code)
    for part, (run, there) in sorted(parts.items(), key=lambda entry: entry[0] == "all"):
        print(f"{part:16} {run:6} of {there:6} lines  {100 * run / max(there, 1):5.1f} %")
    run, there = parts["all"]
    if run < LEAST * there:
        sys.exit(f"coverage: less than {100 * LEAST:.0f} % of the lines were run")


if __name__ == "__main__":
    main()
