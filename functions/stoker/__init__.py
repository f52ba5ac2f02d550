"""Stoker: serverless Python functions for inference. ``import stoker`` and write ``@stoker.function``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker import errors
from stoker.call_progress import progress
from stoker.context import CallContext, current
from stoker.decorators import enter, exit, function, method, sleep, wake
from stoker.environment import Environment
from stoker.errors import PlatformError
from stoker.function import Function
from stoker.options import Batch, Retries, Scaling
from stoker.response import Response
from stoker.schedule import Cron, Every
from stoker.webhook import verify_webhook
from stoker.weights import load_safetensors

if TYPE_CHECKING:
    from stoker.client import Client
    from stoker.job import Job

__all__ = [
    "Batch",
    "CallContext",
    "Client",
    "Cron",
    "Environment",
    "Every",
    "Function",
    "Job",
    "PlatformError",
    "Response",
    "Retries",
    "Scaling",
    "current",
    "enter",
    "errors",
    "exit",
    "function",
    "load_safetensors",
    "method",
    "progress",
    "sleep",
    "verify_webhook",
    "wake",
]


def __getattr__(name: str) -> object:
    if name == "Client":  # brings a web client with it, which `import stoker` must not
        from stoker.client import Client

        return Client
    if name == "Job":
        from stoker.job import Job

        return Job
    raise AttributeError(f"module 'stoker' has no attribute {name!r}")
