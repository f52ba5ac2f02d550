"""FastAPI, model in the server process: `async` where nothing blocks, the thread pool where the model runs."""

from __future__ import annotations

import sys

import uvicorn
import works
from fastapi import FastAPI
from pydantic import BaseModel

WORK, PORT = sys.argv[1], int(sys.argv[2])
app = FastAPI()
run = works.make(WORK)


class Item(BaseModel):
    """What is posted."""

    x: str | float


async def call_here(item: Item) -> object:
    """On the loop."""
    return run([item.x])[0]


def call_in_thread(item: Item) -> object:
    """In Starlette's thread pool, as FastAPI's documentation says for code that blocks."""
    return run([item.x])[0]


app.post("/call")(call_here if WORK == "echo" else call_in_thread)
uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="warning", loop="uvloop", http="httptools")
