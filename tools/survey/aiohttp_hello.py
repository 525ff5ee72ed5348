import asyncio
import sys

from aiohttp import web


async def hello(request):
    return web.Response(text="hello\n")


async def slow(request):
    await asyncio.sleep(2)
    return web.Response(text="hello\n")


app = web.Application()
app.add_routes([web.get("/", hello), web.get("/slow", slow)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
