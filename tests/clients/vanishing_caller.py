"""A caller in a process of its own, to be killed: calls the server at the address given, says `up`, and stays."""

import asyncio
import sys

from caller import Caller


async def main() -> None:
    await Caller.dial(sys.argv[1])
    print("up", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
