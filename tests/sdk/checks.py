"""Counting checks: what passed, what failed and why. It knows neither vault nor client."""

import inspect
import os
import sys
import traceback


class Checks:
    """A list of named checks; the last line printed is `N passed, M failed`, which scripts/sdk reads."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def note(self, name: str, reason: str | None) -> None:
        """`reason` is why it failed, None if it did not."""
        if reason is None:
            self.passed += 1
            if os.environ.get("SDK_VERBOSE"):
                print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED {name}: {reason}", flush=True)

    def equal(self, name: str, got: object, wanted: object) -> None:
        """One comparison. Both sides are shown cut short: values here are made up, but long."""
        if got != wanted and isinstance(got, dict) and isinstance(wanted, dict):
            differ = {key for key in {*got, *wanted} if got.get(key) != wanted.get(key)}
            got, wanted = ({key: side.get(key) for key in differ} for side in (got, wanted))
        self.note(short(name), None if got == wanted else f"got {short(got)}, wanted {short(wanted)}")

    async def run(self, name: str, check, *arguments) -> None:
        """A function that raises when something is wrong."""
        try:
            result = check(*arguments)
            if inspect.isawaitable(result):
                await result
            self.note(name, None)
        except Exception as error:  # whatever it is, it is this check that failed
            frame = traceback.extract_tb(error.__traceback__)
            here = next((f for f in reversed(frame) if f.filename == inspect.getfile(check)), frame[-1])
            self.note(name, f"line {here.lineno}: {here.line}: {type(error).__name__} {short(error)}")

    def finish(self) -> None:
        """Says the counts and ends the program; no check at all is a failure."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(0 if self.passed and not self.failed else 1)


def short(thing: object) -> str:
    text = thing if isinstance(thing, str) else repr(thing) if not isinstance(thing, Exception) else str(thing)
    return text if len(text) <= 200 else f"{text[:100]}…{text[-60:]} ({len(text)} characters)"
