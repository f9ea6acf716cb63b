"""A pytest plugin: Microsoft's live tests skip all api-versions but the newest, and wait a minute after every purge.

A local vault has time for all versions and purges at once, so no pause is longer than the second that dates need.
"""

import asyncio
import time

import _async_test_case
import _test_case

LONGEST_PAUSE = 1.0

_test_case.SecretsClientPreparer._skip_if_not_configured = lambda *_, **__: None
_async_test_case.AsyncSecretsClientPreparer._skip_if_not_configured = lambda *_, **__: None

sleep, sleep_async = time.sleep, asyncio.sleep
time.sleep = lambda seconds: sleep(min(seconds, LONGEST_PAUSE))
asyncio.sleep = lambda seconds, *rest: sleep_async(min(seconds, LONGEST_PAUSE), *rest)
