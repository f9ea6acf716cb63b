"""A credential that returns some token, sync and aio: all that a client needs for a local vault."""

import time

from azure.core.credentials import AccessToken


class Static:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], str | None]] = []

    def get_token(self, *scopes, tenant_id=None, **_):
        self.asked.append((scopes, tenant_id))
        return AccessToken("any-token", int(time.time()) + 3600)

    def close(self) -> None:
        pass


class StaticAio(Static):
    async def get_token(self, *scopes, **options):
        return super().get_token(*scopes, **options)

    async def close(self) -> None:
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass
