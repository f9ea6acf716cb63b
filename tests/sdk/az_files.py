#!/usr/bin/env python3
"""What az's own functions make of files and of values: az_files.json, which `src/fs/encoding.rs` is held to.

Run it by the Python that has azure-cli: it says where the file is not what az does. `az_files.py --write` writes it anew.
"""

import base64
import json
import pathlib
import sys
import tempfile
import types

from azure.cli.command_modules.keyvault import _validators, custom

FIXTURE = pathlib.Path(__file__).with_suffix(".json")
ENCODINGS = _validators.secret_text_encoding_values + _validators.secret_binary_encoding_values
TEXT = "äöü 漢字 😀 \"quoted\" \\ end\n"
FILES = [
    b"", b"plain", b"two\nlines\n", b"carriage\r\nreturn\r", b"with a \x00", TEXT.encode(), "\ufeffmarked".encode(),
    "utf-16".encode("utf-16le"), "ü".encode("utf-16le"), "ü".encode("utf-16"), b"\xff", b"\xed\xa0\x80",
    bytes(range(256)) * 2,
]
# Values that others wrote: as they like it, or wrongly.
VALUES = {
    "base64": ["aGVs\nbG8=\n", "aGVs\r\n bG8=", "aGk", "aGl=", "aGVsbG8=rest", "a*G*k=", "aGk-", "a", "=", "ä"],
    "hex": ["00fF", "0", "zz", "+1", " 00", "00\n", "ä"],
    "ascii": ["é"],
    "UTF-8": ["x"], "Base64": ["aGk="], "latin-1": ["x"],
}


def az_sets(file: bytes, encoding: str):
    """The value that `az keyvault secret set --file --encoding` sends, or None."""
    with tempfile.NamedTemporaryFile() as source:
        source.write(file)
        source.flush()
        words = types.SimpleNamespace(value=None, file_path=source.name, encoding=encoding, tags=None, disabled=None)
        try:
            _validators.process_secret_set_namespace(words)
        except Exception:  # pylint: disable=broad-except
            return None
        assert words.tags == {"file-encoding": encoding}, words.tags
        return words.value


def az_downloads(value: str, tag: str | None):
    """What `az keyvault secret download` writes, in hexadecimal digits, or None."""
    tags = {"file-encoding": tag} if tag else None
    secret = types.SimpleNamespace(value=value, properties=types.SimpleNamespace(tags=tags))
    client = types.SimpleNamespace(get_secret=lambda name, version: secret)
    with tempfile.TemporaryDirectory() as directory:
        target = pathlib.Path(directory) / "out"
        try:
            custom.download_secret(client, str(target), "n")
        except Exception:  # pylint: disable=broad-except
            return None
        return target.read_bytes().hex()


def texts():
    """Every file that is UTF-8."""
    for file in FILES:
        try:
            yield file.decode()
        except UnicodeDecodeError:
            pass


def all_of_it() -> str:
    """What the fixture has to be."""
    sets = [{"file": file.hex(), "tag": tag, "value": az_sets(file, tag)} for tag in ENCODINGS for file in FILES]
    values = [(item["value"], item["tag"]) for item in sets if item["value"] is not None]
    values += [(base64.b64encode(file).decode(), "base64") for file in FILES]
    values += [(text, tag) for text in texts() for tag in [None, *_validators.secret_text_encoding_values]]
    values += [(value, tag) for tag, some in VALUES.items() for value in some]
    downloads = [{"value": value, "tag": tag, "file": az_downloads(value, tag)} for value, tag in dict.fromkeys(values)]
    return json.dumps({"set": sets, "download": downloads}, indent=0) + "\n"


def main() -> None:
    if "--write" in sys.argv:
        FIXTURE.write_text(all_of_it())
    elif FIXTURE.read_text() != all_of_it():
        sys.exit(f"az does otherwise than {FIXTURE.name} says: see what changed by {pathlib.Path(__file__).name} --write")


if __name__ == "__main__":
    main()
