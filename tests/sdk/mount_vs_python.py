#!/usr/bin/env python3
"""A mount compared with Microsoft's Python SDK, byte for byte; run it by with_vault.py.

There: the SDK fills the vault with 300 secrets, the mount shows them, and every value, version, property and deleted
entry is what the SDK says. Back: the mount writes, the SDK reads. The SDK's challenge verification is on.
"""

import asyncio
import datetime
import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient

from checks import Checks
from credential import Static

SECRETS = 300
# The service's limit for a value (Key Vault's "about secrets").
LARGEST = 25_600
ALPHABETS = ["abcXYZ019 -_", "äöüßéñ", "漢字仮名", "😀🔑🧵", "\n\r\t\"\\/\x00\x7f\x1b", "aß漢😀\n", "\u2028\ufeff\u0301e"]
CONTENT_TYPES = [None, "text/plain", "application/json; charset=utf-8", "Grüße 🔑"]
PROPERTIES = """id name version vault_url enabled not_before expires_on created_on updated_on content_type tags
    recovery_level recoverable_days key_id managed previous_version""".split()


def text_of(size: int, chance: random.Random) -> str:
    """A text of exactly `size` bytes in UTF-8."""
    alphabet, parts, left = chance.choice(ALPHABETS), [], size
    while left:
        character = chance.choice(alphabet)
        length = len(character.encode())
        if length > left:
            character, length = "x", 1
        parts.append(character)
        left -= length
    return "".join(parts)


def moment(chance: random.Random) -> datetime.datetime:
    """From 1970 to 2100: expired and not yet valid ones are readable too."""
    return datetime.datetime.fromtimestamp(chance.randrange(1, 4_102_444_800), datetime.timezone.utc)


def attributes_of(index: int, chance: random.Random) -> dict:
    tags = {f"key {n}": text_of(chance.randrange(1, 250), chance) for n in range(index % 16)} if index % 3 == 0 else None
    return {
        "content_type": CONTENT_TYPES[index % len(CONTENT_TYPES)],
        "tags": tags,
        "not_before": moment(chance) if index % 4 == 1 else None,
        "expires_on": moment(chance) if index % 4 >= 2 else None,
        "enabled": None if index % 5 else True,
    }


def fill(client: SecretClient, chance: random.Random) -> dict[str, list[tuple[str, str]]]:
    """Name -> its versions with their values, oldest first."""
    sizes = [1, 2, 3, LARGEST - 1, LARGEST, LARGEST]
    written = {}
    for index in range(SECRETS):
        name = f"{'Aa0'[index % 3]}{index:03d}-{'x' * (index % 120)}"
        size = sizes[index] if index < len(sizes) else round(LARGEST ** chance.random())
        for _ in range(5 if index % 6 == 0 else 1):
            secret = client.set_secret(name, text_of(size, chance), **attributes_of(index, chance))
            written.setdefault(name, []).append((secret.properties.version, secret.value))
        if index % 7 == 0:
            client.update_secret_properties(name, enabled=False)
        if index % 12 == 6:
            client.update_secret_properties(name, written[name][0][0], enabled=False)
        if index % 11 == 0:
            client.begin_delete_secret(name).wait()
    return written


def rendered(properties) -> dict:
    """What `.meta.json` has to say of these properties."""
    shown = {name: getattr(properties, name) for name in PROPERTIES}
    return {name: stamp(value) for name, value in shown.items() if value is not None}


def stamp(value):
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime.datetime) else value


def rendered_deleted(deleted) -> dict:
    own = ("deleted_date", "scheduled_purge_date", "recovery_id")
    return {**rendered(deleted.properties), **{name: stamp(getattr(deleted, name)) for name in own}}


def document(path: pathlib.Path) -> dict:
    return json.loads(path.read_bytes())


def errno_of(action) -> int | None:
    try:
        action()
    except OSError as error:
        return error.errno
    return None


class There:
    """The vault as the SDK filled it."""

    def __init__(self, checks: Checks, client: SecretClient, root: pathlib.Path, written: dict) -> None:
        self.checks, self.client, self.root, self.written = checks, client, root, written
        self.has_version_documents = True

    def look_for_version_documents(self, name: str) -> None:
        self.has_version_documents = ".meta.json" in "".join(os.listdir(self.root / "secrets" / name / "versions"))
        if not self.has_version_documents:
            print("SKIPPED: versions/current and versions/.VERSION.meta.json, this build does not have them")

    def compare(self) -> None:
        live = {item.name: item for item in self.client.list_properties_of_secrets()}
        gone = {item.name: item for item in self.client.list_deleted_secrets()}
        self.checks.equal("the SDK sees every secret", len(live) + len(gone), SECRETS)
        self.checks.equal("ls secrets", sorted(os.listdir(self.root / "secrets")), sorted(live))
        self.checks.equal("ls deleted", sorted(os.listdir(self.root / "deleted")), sorted(gone))
        self.look_for_version_documents(next(iter(live)))
        for name, item in live.items():
            self.one(name, item)
        for name, item in gone.items():
            self.deleted(name, item)

    def one(self, name: str, live) -> None:
        directory = self.root / "secrets" / name
        versions = {item.version: item for item in self.client.list_properties_of_secret_versions(name)}
        newest, _ = self.written[name][-1]
        self.checks.equal(f"{name}: the SDK has every version", set(versions), {v for v, _ in self.written[name]})
        self.checks.equal(f"{name}: entries", sorted(os.listdir(directory)), [".meta.json", "value", "versions"])
        self.version_entries(name, directory / "versions", set(versions), newest)
        for version, value in self.written[name]:
            where, label = directory / "versions", f"{name}/{version}"
            self.value(where / version, label, version, versions[version], value)
        self.value(directory / "value", name, None, versions[newest], self.written[name][-1][1])
        self.meta(directory / ".meta.json", name, None, live if not live.enabled else versions[newest])

    def version_entries(self, name: str, where: pathlib.Path, versions: set[str], newest: str) -> None:
        entries = set(versions)
        if self.has_version_documents:
            entries |= {"current", *(f".{version}.meta.json" for version in versions)}
            listed = {item.version: item for item in self.client.list_properties_of_secret_versions(name)}
            disabled = [item.created_on for item in listed.values() if not item.enabled]
            if listed[newest].enabled or disabled.count(max(disabled)) == 1:
                self.checks.equal(f"{name}: current", os.readlink(where / "current"), newest)
            else:  # disabled, as another one of the same second: which one is current only a get would tell
                self.checks.equal(f"{name}: current", errno_of(lambda: os.readlink(where / "current")), errno.EACCES)
            for item in listed.values():
                self.meta(where / f".{item.version}.meta.json", f"{name}/{item.version}", item.version, item)
        self.checks.equal(f"{name}: ls -a versions", set(os.listdir(where)), entries)

    def value(self, path: pathlib.Path, label: str, version: str | None, listed, value: str) -> None:
        name = label.split("/")[0]
        dated = listed.created_on if version else listed.updated_on
        self.checks.equal(f"{label}: mtime", path.stat().st_mtime, dated.timestamp())
        if not listed.enabled:
            self.checks.equal(f"{label}: disabled", errno_of(path.read_bytes), errno.EACCES)
            self.checks.equal(f"{label}: mode", path.stat().st_mode & 0o7777, 0)
            return
        told = self.client.get_secret(name, version).value
        self.checks.equal(f"{label}: the SDK's value is what it set", told, value)
        self.checks.equal(f"{label}: value", path.read_bytes(), told.encode())
        self.checks.equal(f"{label}: size", path.stat().st_size, len(told.encode()))

    def meta(self, path: pathlib.Path, label: str, version: str | None, listed) -> None:
        told = listed
        if listed.enabled:
            told = self.client.get_secret(label.split("/")[0], version).properties
        self.checks.equal(f"{label}: properties", document(path), rendered(told))

    def deleted(self, name: str, listed) -> None:
        shown = document(self.root / "deleted" / name / ".meta.json")
        wanted = rendered_deleted(listed)
        try:
            # The listing lacks the version; a mount that has just listed may answer from it.
            wanted = rendered_deleted(self.client.get_deleted_secret(name)) if "version" in shown else wanted
        except HttpResponseError as error:  # of a disabled one only the listing tells
            self.checks.equal(f"deleted {name}: refused since disabled", error.status_code, 403)
        self.checks.equal(f"deleted {name}: properties", shown, wanted)
        self.checks.equal(f"deleted {name}: nothing else", os.listdir(self.root / "deleted" / name), [".meta.json"])


class Back:
    """What the mount writes is what the SDK reads."""

    def __init__(self, checks: Checks, client: SecretClient, root: pathlib.Path, chance: random.Random) -> None:
        self.checks, self.client, self.chance = checks, client, chance
        self.secrets, self.gone = root / "secrets", root / "deleted"

    def make(self, name: str, data: bytes = b"first", meta: dict | None = None) -> pathlib.Path:
        directory = self.secrets / name
        directory.mkdir()
        if meta is not None:
            (directory / ".meta.json").write_text(json.dumps(meta))
        (directory / "value").write_bytes(data)
        return directory

    def versions(self, name: str) -> int:
        return len(list(self.client.list_properties_of_secret_versions(name)))

    def is_saved(self, name: str, data: bytes, versions: int) -> None:
        assert self.client.get_secret(name).value.encode() == data
        assert self.versions(name) == versions, f"{self.versions(name)} versions"

    def new_secrets_of_every_size(self) -> None:
        for size in [0, 1, 2, 4095, 4096, 4097, 12_345, LARGEST - 1, LARGEST]:
            data = text_of(size, self.chance).encode()
            self.make(f"new-{size}", data)
            self.is_saved(f"new-{size}", data, 1)

    def a_new_secret_with_its_properties(self) -> None:
        meta = {
            "content_type": "text/ü", "tags": {"a": "1", "ä": "漢"}, "enabled": True,
            "not_before": "2020-02-29T23:59:59Z", "expires_on": "2099-12-31T00:00:00Z",
        }
        self.make("with-meta", b"value", meta)
        told = rendered(self.client.get_secret("with-meta").properties)
        assert {key: told[key] for key in meta} == meta, told
        assert self.versions("with-meta") == 1

    def every_save_is_one_version(self) -> None:
        value = self.make("saves") / "value"
        value.write_bytes(b"second")
        self.is_saved("saves", b"second", 2)
        with value.open("ab") as out:
            out.write("+drei ü".encode())
        self.is_saved("saves", "second+drei ü".encode(), 3)
        os.truncate(value, 6)
        self.is_saved("saves", b"second", 4)
        subprocess.run(["bash", "-c", 'echo "from a shell" >"$1"', "-", value], check=True, timeout=60)
        self.is_saved("saves", b"from a shell\n", 5)
        value.write_bytes(b"from a shell\n")
        self.is_saved("saves", b"from a shell\n", 5)

    def tools_save(self) -> None:
        value = self.make("tools") / "value"
        with tempfile.TemporaryDirectory() as elsewhere:
            source = pathlib.Path(elsewhere, "new")
            for count, command in enumerate((["cp"], ["install", "-m600"], ["mv"]), 2):
                data = f"by {command[0]}".encode()
                source.write_bytes(data)
                subprocess.run([*command, source, value], check=True, timeout=60)
                self.is_saved("tools", data, count)
        subprocess.run(["sed", "-i", "s/by mv/by sed/", value], check=True, timeout=60)
        self.is_saved("tools", b"by sed", 5)
        assert "tools" not in [item.name for item in self.client.list_deleted_secrets()]

    def a_save_carries_over_what_it_should(self) -> None:
        meta = {"content_type": "t/x", "tags": {"k": "v"}, "expires_on": "2099-01-01T00:00:00Z"}
        value = self.make("carry", b"one", meta) / "value"
        value.write_bytes(b"two")
        told = self.client.get_secret("carry").properties
        assert (told.content_type, told.tags, told.enabled, told.expires_on) == ("t/x", {"k": "v"}, True, None), told

    def properties_are_edited_without_a_new_version(self) -> None:
        meta = self.make("edit", b"one", {"tags": {"old": "1"}, "content_type": "a/b"}) / ".meta.json"
        edits = [
            ({"tags": {"new": "2", "ü": "😀"}}, "tags", {"new": "2", "ü": "😀"}),
            ({"content_type": "c/d"}, "content_type", "c/d"),
            ({"not_before": "2021-01-01T00:00:00Z"}, "not_before", "2021-01-01T00:00:00Z"),
            ({"expires_on": "2031-01-01T02:00:00+02:00"}, "expires_on", "2031-01-01T00:00:00Z"),
            ({"tags": {}}, "tags", {}),
        ]
        for edit, member, wanted in edits:
            meta.write_text(json.dumps(edit))
            told = getattr(self.client.get_secret("edit").properties, member)
            assert (stamp(told) or {}) == wanted, f"{member}: {told}"
        whole = document(meta)
        whole["enabled"] = False
        meta.write_text(json.dumps(whole))
        listed = list(self.client.list_properties_of_secret_versions("edit"))
        assert [(item.enabled, item.content_type) for item in listed] == [(False, "c/d")], listed

    def an_old_version_is_edited(self) -> None:
        directory = self.make("old-edit")
        first = self.client.get_secret("old-edit").properties.version
        (directory / "value").write_bytes(b"second")
        if f".{first}.meta.json" not in os.listdir(directory / "versions"):
            print("SKIPPED: editing an old version's properties, this build does not have them")
            return
        (directory / "versions" / f".{first}.meta.json").write_text('{"enabled": false, "tags": {"was": "first"}}')
        listed = {item.version: item for item in self.client.list_properties_of_secret_versions("old-edit")}
        assert (listed[first].enabled, listed[first].tags) == (False, {"was": "first"})
        current = self.client.get_secret("old-edit").properties
        assert (current.enabled, current.tags) == (True, None), current

    def deletes_and_recovers(self) -> None:
        ways = {
            "rmdir": lambda d: os.rmdir(d),
            "rm": lambda d: subprocess.run(["rm", "-r", d], check=True, timeout=60),
            "rmtree": shutil.rmtree,
            "mv": lambda d: subprocess.run(["mv", d, self.gone], check=True, timeout=60),
            "find": lambda d: subprocess.run(["find", d, "-delete"], check=True, timeout=60),
        }
        for way, delete in ways.items():
            name = f"delete-by-{way}"
            directory = self.make(name, b"one")
            (directory / "value").write_bytes(b"two")
            current = self.client.get_secret(name).properties.version
            delete(directory)
            deleted = self.client.get_deleted_secret(name)
            assert deleted.properties.version == current and not self.versions(name), way
            subprocess.run(["mv", self.gone / name, self.secrets], check=True, timeout=60)
            self.is_saved(name, b"two", 2)

    def an_unlinked_value_is_deleted_after_its_delay(self) -> None:
        directory = self.make("unlinked")
        os.unlink(directory / "value")
        wait_for(lambda: self.client.get_deleted_secret("unlinked").name == "unlinked")

    def a_purge(self) -> None:
        directory = self.make("purged")
        os.rmdir(directory)
        os.rmdir(self.gone / "purged")
        try:
            self.client.get_deleted_secret("purged")
        except ResourceNotFoundError:
            return
        raise AssertionError("it is still there")

    def changes_of_the_sdk_appear(self) -> None:
        directory = self.make("rotated")
        self.client.set_secret("rotated", "by the SDK", content_type="s/k")
        self.client.set_secret("appears", "ü")
        wait_for(lambda: (directory / "value").read_bytes() == b"by the SDK")
        wait_for(lambda: document(directory / ".meta.json").get("content_type") == "s/k")
        wait_for(lambda: (self.secrets / "appears" / "value").read_bytes() == "ü".encode())
        self.client.begin_delete_secret("appears").wait()
        wait_for(lambda: "appears" not in os.listdir(self.secrets) and "appears" in os.listdir(self.gone))

    def what_is_refused_changes_nothing(self) -> None:
        value = self.make("refused", b"kept") / "value"
        assert errno_of(lambda: value.write_bytes(b"x" * (LARGEST + 1))) == errno.EFBIG
        assert errno_of(lambda: value.write_bytes(b"\xff\xfe")) == errno.EILSEQ
        assert errno_of(lambda: (value.parent / ".meta.json").write_text('{"version": "1"}')) == errno.EINVAL
        assert errno_of(lambda: (self.secrets / "REFUSED").mkdir()) == errno.EEXIST
        assert errno_of(lambda: (self.secrets / "no_name").mkdir()) == errno.EINVAL
        self.is_saved("refused", b"kept", 1)

    def checks_of_mine(self) -> list:
        return [
            self.new_secrets_of_every_size, self.a_new_secret_with_its_properties, self.every_save_is_one_version,
            self.tools_save, self.a_save_carries_over_what_it_should, self.properties_are_edited_without_a_new_version,
            self.an_old_version_is_edited, self.deletes_and_recovers, self.an_unlinked_value_is_deleted_after_its_delay,
            self.a_purge, self.changes_of_the_sdk_appear, self.what_is_refused_changes_nothing,
        ]


def wait_for(condition, limit: float = 15.0) -> None:
    """Until the condition holds; an entry that is not there yet is one more reason to wait."""
    end = time.monotonic() + limit
    while True:
        try:
            if condition():
                return
        except (OSError, ResourceNotFoundError):
            pass
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s")
        time.sleep(0.05)


class Mount:
    """The vault mounted at a directory of its own, for the time of a with-block."""

    def __init__(self, *options: str) -> None:
        self.options = ",".join((f"ca_file={os.environ['AKV_CA']}", *options))

    def __enter__(self) -> pathlib.Path:
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="akvfs-mount-"))
        command = [os.environ["AKVFS"], "mount", os.environ["AKV_URL"], str(self.root), "-o", self.options]
        subprocess.run(command, check=True, timeout=60)
        return self.root

    def __exit__(self, *_) -> None:
        ended = subprocess.run([os.environ["AKVFS"], "unmount", str(self.root)], timeout=60)
        if ended.returncode:
            subprocess.run(["umount", "-l", str(self.root)], timeout=60)
        os.rmdir(self.root)


def main() -> None:
    if not os.access("/dev/fuse", os.W_OK):
        print("SKIPPED: /dev/fuse cannot be opened\n0 passed, 0 failed")
        sys.exit(0)
    checks, chance = Checks(), random.Random(20261124)
    client = SecretClient(os.environ["AKV_URL"], Static(), connection_verify=os.environ["AKV_CA"])
    start = time.monotonic()
    written = fill(client, chance)
    print(f"filled in {time.monotonic() - start:.1f} s")
    with Mount("ro") as root:
        There(checks, client, root, written).compare()
    print(f"compared by {time.monotonic() - start:.1f} s")
    with Mount("ttl=1s", "allow_purge", "purge_after=0s", "delete_delay=200ms", "max_writes=1000/s") as root:
        for check in Back(checks, client, root, chance).checks_of_mine():
            asyncio.run(checks.run(f"back: {check.__name__}", check))
    checks.finish()


if __name__ == "__main__":
    main()
