"""A stand-in for the unpublished helper package that Microsoft's own tests of the Python client import.

Its tests then run live, against the vault at AKV_URL; nothing is recorded, so all about recordings does nothing.
"""

import asyncio
import functools
import os
import zlib

import pytest

from credential import Static, StaticAio


def is_live() -> bool:
    return True


class AzureRecordedTestCase:
    is_live = True

    def get_resource_name(self, name: str) -> str:
        """One name a test and run, so that tests don't meet each other's secrets."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        return f"{name}-{zlib.crc32(test.encode()):08x}"

    def get_credential(self, _client, is_async: bool = False, **_):
        return StaticAio() if is_async else Static()

    def create_client_from_credential(self, client, credential, **options):
        options.setdefault("logging_enable", True)
        return client(credential=credential, connection_verify=os.environ["AKV_CA"], **options)

    @staticmethod
    def await_prepared_test(test):
        """An async test as a plain one."""

        @functools.wraps(test)
        def call(*arguments, **options):
            return asyncio.run(test(*arguments, **options))

        return call

    def fail(self, reason: str):
        pytest.fail(reason)


def recorded_by_proxy(test):
    """Calls the test without what a recording would add."""

    @functools.wraps(test)
    def call(*arguments, **_):
        return test(*arguments)

    return call


class AzureMgmtPreparer:
    pass


@pytest.fixture(scope="session")
def test_proxy():
    return None


def ignore(*_, **__) -> None:
    pass


add_oauth_response_sanitizer = add_general_regex_sanitizer = add_body_key_sanitizer = ignore
add_remove_header_sanitizer = remove_batch_sanitizers = set_custom_default_matcher = ignore
