#!/usr/bin/env python3
"""Every method of Microsoft's Python client, sync or (--aio) async, against the vault at AKV_URL; run by with_vault.py.

The two clients differ in what must be awaited and in their pollers, nothing else: `got` and `all_of` take both.
With --slow the vault's deletions and recoveries take time, and the pollers are tried alone.
"""

import asyncio
import datetime
import inspect
import os
import sys
import time

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.keyvault.secrets import ApiVersion, KeyVaultSecretIdentifier, SecretClient
from azure.keyvault.secrets.aio import SecretClient as SecretClientAio

from checks import Checks
from credential import Static, StaticAio

AIO = "--aio" in sys.argv
URL, CA = os.environ["AKV_URL"], os.environ["AKV_CA"]
# Trust comes from connection_verify alone here, so that one check can do without.
for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
    os.environ.pop(variable, None)
NASTY = "äöü 漢字 😀\u0000\u2028\r\n\t\"\\/ end "
FIRST = datetime.datetime(1999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)
LAST = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)
ALL = {"content_type": "text/ü", "tags": {"a": "1", "ключ": "😀"}, "not_before": FIRST, "expires_on": LAST, "enabled": True}


def open_client(**options):
    options.setdefault("connection_verify", CA)
    url = options.pop("url", URL)
    if AIO:
        return SecretClientAio(url, options.pop("credential", None) or StaticAio(), **options)
    return SecretClient(url, options.pop("credential", None) or Static(), **options)


async def got(answer):
    return await answer if inspect.isawaitable(answer) else answer


async def all_of(pager) -> list:
    if hasattr(pager, "__aiter__"):
        return [item async for item in pager]
    return list(pager)


async def delete(client, name: str):
    """Deletes and waits until it is done; the answer of the first call."""
    if AIO:
        return await client.delete_secret(name)
    poller = client.begin_delete_secret(name)
    poller.wait()
    return poller.result()


async def recover(client, name: str):
    if AIO:
        return await client.recover_deleted_secret(name)
    poller = client.begin_recover_deleted_secret(name)
    poller.wait()
    return poller.result()


async def refused(kind: type, status: int, code: str | None, call) -> HttpResponseError:
    """The error of a call that must fail with exactly this class, status and code."""
    try:
        await got(call())
    except HttpResponseError as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}"
        assert error.status_code == status, error.status_code
        inner = (error.error.innererror or {}).get("code") if error.error else None
        assert code in (None, inner, error.error and error.error.code), f"{error.error and error.error.code}/{inner}"
        return error
    raise AssertionError("it was not refused")


async def pages(pager, token: str | None = None) -> list[list]:
    found = []
    by_page = pager.by_page(continuation_token=token)
    if hasattr(by_page, "__aiter__"):
        async for page in by_page:
            found.append([item async for item in page])
    else:
        found = [list(page) for page in by_page]
    return found


async def first_page(pager) -> tuple[list, str | None]:
    by_page = pager.by_page()
    page = await all_of(await by_page.__anext__() if AIO else next(by_page))
    return page, by_page.continuation_token


async def versions_of(client, name: str) -> list:
    return await all_of(client.list_properties_of_secret_versions(name))


def attributes(properties) -> dict:
    return {key: getattr(properties, key) for key in ALL}


# Set, get, update.


async def set_and_get(client):
    made = await got(client.set_secret("roundtrip", NASTY))
    read = await got(client.get_secret("roundtrip"))
    assert made.value == read.value == NASTY
    assert made.id == read.id == f"{URL}/secrets/roundtrip/{made.properties.version}", made.id
    assert (read.name, read.properties.vault_url, len(read.properties.version)) == ("roundtrip", URL, 32)
    assert read.properties.enabled is True and read.properties.tags in (None, {})
    assert (read.properties.recovery_level, read.properties.recoverable_days) == ("Recoverable+Purgeable", 90)
    assert read.properties.managed is None and read.properties.key_id is None


async def set_with_every_attribute(client):
    made = await got(client.set_secret("attributes", "x", **ALL))
    read = await got(client.get_secret("attributes"))
    assert attributes(made.properties) == attributes(read.properties) == ALL
    age = datetime.datetime.now(datetime.timezone.utc) - read.properties.created_on
    assert abs(age.total_seconds()) < 60 and read.properties.updated_on == read.properties.created_on


async def values_of_every_size(client):
    for value in ["", " ", "\n", "x" * 25_600, "漢" * 8_533, '{"json": [1]}', "\ufeffbom"]:
        await got(client.set_secret("sizes", value))
        assert (await got(client.get_secret("sizes"))).value == value, f"{len(value)} characters"


async def a_new_version_inherits_nothing(client):
    await got(client.set_secret("inherit", "one", **ALL))
    await got(client.set_secret("inherit", "two"))
    told = (await got(client.get_secret("inherit"))).properties
    assert attributes(told) == {"content_type": None, "tags": told.tags, "not_before": None, "expires_on": None, "enabled": True}
    assert told.tags in (None, {})


async def get_a_version(client):
    made = [(await got(client.set_secret("versions", f"v{n}"))).properties.version for n in range(5)]
    assert len(set(made)) == 5
    for number, version in enumerate(made):
        read = await got(client.get_secret("versions", version))
        assert (read.value, read.properties.version) == (f"v{number}", version)
    assert (await got(client.get_secret("versions"))).properties.version == made[-1]
    parsed = KeyVaultSecretIdentifier((await got(client.get_secret("versions"))).id)
    assert (parsed.name, parsed.version, parsed.vault_url.rstrip("/")) == ("versions", made[-1], URL)


async def names_have_no_case(client):
    await got(client.set_secret("CamelCase", "one"))
    assert (await got(client.get_secret("camelcase"))).value == "one"
    await got(client.set_secret("CAMELCASE", "two"))
    assert len(await versions_of(client, "camelCase")) == 2
    listed = [item.name for item in await all_of(client.list_properties_of_secrets())]
    assert [name for name in listed if name.lower() == "camelcase"] == ["CamelCase"]


async def update_one_after_the_other(client):
    made = await got(client.set_secret("update", "x", **ALL))
    other = datetime.datetime(2050, 2, 2, 8, tzinfo=datetime.timezone.utc)
    changes = [("content_type", "a/b"), ("tags", {"new": "1"}), ("not_before", other), ("expires_on", other), ("enabled", False), ("tags", {})]
    wanted = dict(ALL)
    for key, value in changes:
        answer = await got(client.update_secret_properties("update", **{key: value}))
        wanted[key] = value
        told = attributes(answer)
        assert (told["tags"] or {}) == wanted["tags"] and {**told, "tags": 0} == {**wanted, "tags": 0}, f"{key}: {told}"
    listed = await versions_of(client, "update")
    assert [item.version for item in listed] == [made.properties.version]


async def update_an_old_version(client):
    old = (await got(client.set_secret("update-old", "one"))).properties.version
    await got(client.set_secret("update-old", "two"))
    await got(client.update_secret_properties("update-old", old, tags={"old": "yes"}))
    listed = {item.version == old: item.tags or {} for item in await versions_of(client, "update-old")}
    assert listed == {True: {"old": "yes"}, False: {}}, listed
    assert (await got(client.get_secret("update-old", old))).value == "one"


async def a_disabled_secret_cannot_be_read(client):
    made = await got(client.set_secret("disabled", "x", enabled=False))
    assert made.value == "x" and made.properties.enabled is False
    await refused(HttpResponseError, 403, "SecretDisabled", lambda: client.get_secret("disabled"))
    await refused(HttpResponseError, 403, "SecretDisabled", lambda: client.get_secret("disabled", made.properties.version))
    await got(client.update_secret_properties("disabled", enabled=True))
    assert (await got(client.get_secret("disabled"))).value == "x"


async def outside_its_dates_it_is_readable(client):
    await got(client.set_secret("expired", "old", expires_on=FIRST))
    await got(client.set_secret("not-yet", "new", not_before=LAST))
    assert (await got(client.get_secret("expired"))).value == "old"
    assert (await got(client.get_secret("not-yet"))).value == "new"


# Lists.


async def list_all(client):
    for number in range(30):
        await got(client.set_secret(f"list-{number:02}", "hidden", content_type=f"c/{number}", tags={"n": str(number)}))
    await got(client.update_secret_properties("list-07", enabled=False))
    listed = [item for item in await all_of(client.list_properties_of_secrets()) if item.name.startswith("list-")]
    assert [item.name for item in listed] == [f"list-{number:02}" for number in range(30)]
    for number, item in enumerate(listed):
        assert (item.content_type, item.tags, item.version) == (f"c/{number}", {"n": str(number)}, None), item
        assert item.enabled is (number != 7) and item.created_on and item.updated_on


async def list_by_page(client):
    for number in range(60):
        await got(client.set_secret(f"page-{number:02}", "x"))
    whole = [item.name for item in await all_of(client.list_properties_of_secrets())]
    found = await pages(client.list_properties_of_secrets())
    assert [item.name for page in found for item in page] == whole
    assert len(found) > 2 and max(map(len, found)) == 25, list(map(len, found))
    sized = await pages(client.list_properties_of_secrets(max_page_size=7))
    assert max(map(len, sized)) == 7 and [item.name for page in sized for item in page] == whole


async def go_on_from_a_token(client):
    for number in range(30):
        await got(client.set_secret(f"token-{number:02}", "x"))
    first, token = await first_page(client.list_properties_of_secrets(max_page_size=10))
    assert len(first) == 10 and token
    rest = [item.name for page in await pages(client.list_properties_of_secrets(), token) for item in page]
    whole = [item.name for item in await all_of(client.list_properties_of_secrets())]
    assert [item.name for item in first] + rest == whole


async def list_versions(client):
    made = {(await got(client.set_secret("many", f"{n}", tags={"n": str(n)}))).properties.version: str(n) for n in range(30)}
    listed = await versions_of(client, "many")
    assert {item.version: item.tags["n"] for item in listed} == made
    assert [item.version for item in listed] == sorted(made)
    found = await pages(client.list_properties_of_secret_versions("many", max_page_size=8))
    assert list(map(len, found)) == [8, 8, 8, 6]
    assert await versions_of(client, "no-such-name") == []


# Delete, recover, purge.


async def delete_and_get_deleted(client):
    await got(client.set_secret("delete", "old"))
    made = await got(client.set_secret("delete", "x", **ALL))
    answer = await delete(client, "delete")
    read = await got(client.get_deleted_secret("delete"))
    for told in (answer, read):
        assert told.id == made.id and attributes(told.properties) == ALL
        assert told.recovery_id == f"{URL}/deletedsecrets/delete" and told.name == "delete"
        assert told.scheduled_purge_date - told.deleted_date == datetime.timedelta(days=90)
    assert answer.deleted_date == read.deleted_date
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_secret("delete"))
    assert await versions_of(client, "delete") == []
    assert "delete" not in [item.name for item in await all_of(client.list_properties_of_secrets())]


async def list_deleted(client):
    for number in range(30):
        await got(client.set_secret(f"gone-{number:02}", "x", tags={"n": str(number)}))
        await delete(client, f"gone-{number:02}")
    listed = [item for item in await all_of(client.list_deleted_secrets()) if item.name.startswith("gone-")]
    assert [(item.name, item.properties.tags) for item in listed] == [(f"gone-{n:02}", {"n": str(n)}) for n in range(30)]
    assert all(item.deleted_date and item.scheduled_purge_date and item.recovery_id for item in listed)
    found = await pages(client.list_deleted_secrets(max_page_size=11))
    assert len(found) > 2 and max(map(len, found)) == 11
    _, token = await first_page(client.list_deleted_secrets(max_page_size=11))
    rest = [item.name for page in await pages(client.list_deleted_secrets(), token) for item in page]
    assert rest == [item.name for page in found[1:] for item in page]


async def recover_brings_everything_back(client):
    versions = [await got(client.set_secret("recover", f"v{n}", **ALL)) for n in range(3)]
    await delete(client, "recover")
    answer = await recover(client, "recover")
    assert answer.id == versions[-1].id and attributes(answer) == ALL
    for made in versions:
        read = await got(client.get_secret("recover", made.properties.version))
        assert read.value == made.value and attributes(read.properties) == ALL
        assert read.properties.created_on == made.properties.created_on
    assert len(await versions_of(client, "recover")) == 3
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_deleted_secret("recover"))


async def purge(client):
    await got(client.set_secret("purge", "one"))
    await delete(client, "purge")
    assert await got(client.purge_deleted_secret("purge")) is None
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_deleted_secret("purge"))
    assert "purge" not in [item.name for item in await all_of(client.list_deleted_secrets())]
    await got(client.set_secret("purge", "two"))
    assert len(await versions_of(client, "purge")) == 1


async def a_deleted_name_is_taken(client):
    await got(client.set_secret("taken", "x"))
    await delete(client, "taken")
    # Of a 409 to a set the client makes its "exists".
    await refused(ResourceExistsError, 409, "ObjectIsDeletedButRecoverable", lambda: client.set_secret("taken", "y"))
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.update_secret_properties("taken", tags={}))
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: delete(client, "taken"))
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.backup_secret("taken"))
    await recover(client, "taken")
    await refused(HttpResponseError, 400, "RequestNotAllowedOnNonDeletedObject", lambda: post_recover(client, "taken"))
    assert (await got(client.get_secret("taken"))).value == "x"


async def post_recover(client, name: str):
    """The client looks first whether the name is deleted; the service's own answer needs the bare request."""
    from azure.core.rest import HttpRequest

    answer = await got(client.send_request(HttpRequest("POST", f"/deletedsecrets/{name}/recover", params={"api-version": "7.4"})))
    answer.raise_for_status()


async def a_disabled_one_can_be_deleted(client):
    await got(client.set_secret("gone-disabled", "x", enabled=False))
    await delete(client, "gone-disabled")
    await refused(HttpResponseError, 403, "SecretDisabled", lambda: client.get_deleted_secret("gone-disabled"))
    assert "gone-disabled" in [item.name for item in await all_of(client.list_deleted_secrets())]


# Backup, restore.


async def backup_and_restore(client):
    versions = [await got(client.set_secret("backup", NASTY * (n + 1), **ALL)) for n in range(3)]
    blob = await got(client.backup_secret("backup"))
    assert isinstance(blob, bytes) and NASTY.encode() not in blob
    await refused(ResourceExistsError, 409, "Conflict", lambda: client.restore_secret_backup(blob))
    await delete(client, "backup")
    await refused(ResourceExistsError, 409, "Conflict", lambda: client.restore_secret_backup(blob))
    await got(client.purge_deleted_secret("backup"))
    answer = await got(client.restore_secret_backup(blob))
    assert answer.id == versions[-1].id and attributes(answer) == ALL
    for made in versions:
        read = await got(client.get_secret("backup", made.properties.version))
        assert read.value == made.value and read.properties.created_on == made.properties.created_on
    assert len(await versions_of(client, "backup")) == 3


async def an_altered_backup_is_refused(client):
    await got(client.set_secret("altered", "x"))
    blob = await got(client.backup_secret("altered"))
    await delete(client, "altered")
    await got(client.purge_deleted_secret("altered"))
    for at in (5, len(blob) // 2, len(blob) - 3):
        bad = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        await refused(HttpResponseError, 400, "Malformed backup blob", lambda: client.restore_secret_backup(bad))
    await refused(HttpResponseError, 400, "Malformed backup blob", lambda: client.restore_secret_backup(b"non-existing"))
    await got(client.restore_secret_backup(blob))


# Errors, api-versions, sign-in.


async def what_is_not_there(client):
    for call in (
        lambda: client.get_secret("nothing"),
        lambda: client.get_deleted_secret("nothing"),
        lambda: client.update_secret_properties("nothing", tags={}),
        lambda: delete(client, "nothing"),
        lambda: client.purge_deleted_secret("nothing"),
        lambda: client.backup_secret("nothing"),
        lambda: recover(client, "nothing"),
    ):
        error = await refused(ResourceNotFoundError, 404, "SecretNotFound", call)
        assert "nothing" in error.message, error.message
    await got(client.set_secret("one-version", "x"))
    await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_secret("one-version", "0" * 32))


async def bad_parameters(client):
    for name, value, options in (
        ("under_score", "x", {}),
        ("dot.ted", "x", {}),
        ("n" * 128, "x", {}),
        ("too-long", "x" * 25_601, {}),
        ("no-value", None, {}),
        ("tags", "x", {"tags": {str(n): "" for n in range(16)}}),
        ("tag", "x", {"tags": {"k" * 513: ""}}),
        ("type", "x", {"content_type": "c" * 256}),
    ):
        try:
            await refused(HttpResponseError, 400, "BadParameter", lambda: client.set_secret(name, value, **options))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    await got(client.set_secret("n" * 127, "x", tags={str(n): "v" * 256 for n in range(15)}, content_type="c" * 255))


async def an_unknown_api_version(_client):
    other = open_client(api_version="2026-04-01")
    other._client._config.api_version = "1.0"
    await refused(HttpResponseError, 400, "BadParameter", lambda: other.get_secret("x"))
    await got(other.close())


async def the_challenge_is_verified(_client):
    credential = (StaticAio if AIO else Static)()
    other = open_client(credential=credential)
    await got(other.set_secret("challenge", "x"))
    scope, tenant = credential.asked[0]
    host = URL.split("//akv.")[1]
    assert scope == (f"https://{host}/.default",) and tenant, credential.asked
    await got(other.close())
    # By its bare address no resource can match, so no token is sent.
    port = URL.rsplit(":", 1)[1]
    outside = open_client(url=f"https://localhost:{port}")
    try:
        await got(outside.get_secret("challenge"))
    except ValueError as error:
        assert "challenge" in str(error).lower(), error
    else:
        raise AssertionError("a foreign challenge was accepted")
    await got(outside.close())


async def an_unknown_authority_is_refused(_client):
    stranger = open_client(connection_verify=True, retry_total=0)
    try:
        await got(stranger.get_secret("challenge"))
    except (ServiceRequestError, ClientAuthenticationError) as error:
        assert "certificate" in str(error).lower(), error
    else:
        raise AssertionError("the certificate was accepted")
    await got(stranger.close())


async def the_answer_headers(client):
    seen = {}
    await got(client.set_secret("headers", "x", raw_response_hook=lambda answer: seen.update(answer.http_response.headers)))
    found = {key.lower(): value for key, value in seen.items()}
    assert found["content-type"].startswith("application/json") and found["x-ms-keyvault-region"]
    assert found["x-ms-request-id"] and found["x-ms-keyvault-service-version"] and found["cache-control"] == "no-cache"


# With a delay.


async def a_slow_delete(client):
    await got(client.set_secret("slow", "x", **ALL))
    began = time.monotonic()
    if AIO:
        await delete(client, "slow")
    else:
        poller = client.begin_delete_secret("slow")
        assert poller.status() == "polling"
        await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_deleted_secret("slow"))
        await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_secret("slow"))
        await refused(ResourceExistsError, 409, "ObjectIsBeingDeleted", lambda: client.set_secret("slow", "y"))
        await refused(ResourceExistsError, 409, "ObjectIsBeingDeleted", lambda: client.purge_deleted_secret("slow"))
        poller.wait()
        assert poller.status() == "finished"
    assert time.monotonic() - began >= 1.9
    assert (await got(client.get_deleted_secret("slow"))).name == "slow"


async def a_slow_recovery(client):
    began = time.monotonic()
    if AIO:
        await recover(client, "slow")
    else:
        poller = client.begin_recover_deleted_secret("slow")
        assert poller.status() == "polling"
        await refused(ResourceNotFoundError, 404, "SecretNotFound", lambda: client.get_secret("slow"))
        await refused(ResourceExistsError, 409, "ObjectIsBeingRecovered", lambda: client.set_secret("slow", "y"))
        poller.wait()
    assert time.monotonic() - began >= 1.9
    read = await got(client.get_secret("slow"))
    assert read.value == "x" and attributes(read.properties) == ALL


async def a_slow_purge(client):
    await got(client.set_secret("slow-purge", "x"))
    blob = await got(client.backup_secret("slow-purge"))
    await delete(client, "slow-purge")
    await got(client.purge_deleted_secret("slow-purge"))
    await refused(ResourceExistsError, 409, "Conflict", lambda: client.restore_secret_backup(blob))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            assert (await got(client.restore_secret_backup(blob))).name == "slow-purge"
            return
        except ResourceExistsError:
            await asyncio.sleep(0.2)
    raise AssertionError("the purged name was never released")


async def a_disabled_one_is_polled_to_its_end(client):
    await got(client.set_secret("slow-disabled", "x", enabled=False))
    await delete(client, "slow-disabled")
    await recover(client, "slow-disabled")
    assert [item.enabled for item in await versions_of(client, "slow-disabled")] == [False]


SLOW = [a_slow_delete, a_slow_recovery, a_slow_purge, a_disabled_one_is_polled_to_its_end]
USUAL = [
    set_and_get, set_with_every_attribute, values_of_every_size, a_new_version_inherits_nothing, get_a_version,
    names_have_no_case, update_one_after_the_other, update_an_old_version, a_disabled_secret_cannot_be_read,
    outside_its_dates_it_is_readable, list_all, list_by_page, go_on_from_a_token, list_versions, delete_and_get_deleted,
    list_deleted, recover_brings_everything_back, purge, a_deleted_name_is_taken, a_disabled_one_can_be_deleted,
    backup_and_restore, an_altered_backup_is_refused, what_is_not_there, bad_parameters, an_unknown_api_version,
    the_challenge_is_verified, an_unknown_authority_is_refused, the_answer_headers,
]


async def with_api_version(_client, version) -> None:
    other = open_client(api_version=version)
    name = f"api-{str(version.value).replace('.', '-')}"
    await got(other.set_secret(name, NASTY, **ALL))
    read = await got(other.get_secret(name))
    assert read.value == NASTY and attributes(read.properties) == ALL
    days = read.properties.recoverable_days
    assert days == (None if version in (ApiVersion.V2016_10_01, ApiVersion.V7_0) else 90), days
    await delete(other, name)
    await recover(other, name)
    assert name in [item.name for item in await all_of(other.list_properties_of_secrets())]
    await got(other.close())


async def main() -> None:
    checks = Checks()
    client = open_client(retry_total=0) if "--slow" in sys.argv else open_client()
    for check in SLOW if "--slow" in sys.argv else USUAL:
        await checks.run(check.__name__, check, client)
    if "--slow" not in sys.argv:
        for version in ApiVersion:
            await checks.run(f"api-version {version.value}", with_api_version, client, version)
    await got(client.close())
    checks.finish()


if __name__ == "__main__":
    asyncio.run(main())
