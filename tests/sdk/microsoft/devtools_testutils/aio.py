"""As the package itself, for tests of the async client."""

import functools


def recorded_by_proxy_async(test):
    @functools.wraps(test)
    async def call(*arguments, **_):
        return await test(*arguments)

    return call
