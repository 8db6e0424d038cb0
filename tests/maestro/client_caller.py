"""Drives either client in the same words."""

import asyncio
import inspect


class Caller:
    """Calls methods by name; those of the blocking client in a thread, so that the server's loop goes on."""

    def __init__(self, kind, address, **options):
        self._client = kind(address, **options)

    async def call(self, name, *args, **kwargs):
        result = getattr(self._client, name)
        if inspect.iscoroutinefunction(result):
            return await result(*args, **kwargs)
        if inspect.isasyncgenfunction(result):
            return [item async for item in result(*args, **kwargs)]
        return await asyncio.to_thread(self._call_blocking, result, args, kwargs)

    @staticmethod
    def _call_blocking(method, args, kwargs):
        result = method(*args, **kwargs)
        return list(result) if inspect.isgenerator(result) else result

    async def close(self):
        closed = self._client.close()
        if closed is not None:
            await closed
