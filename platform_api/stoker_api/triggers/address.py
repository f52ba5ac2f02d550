"""Brokers' URLs: which kind they name, and how they look without their credentials. Pure.

The rule that must not break: a password or token of a URL is in no answer, no log and no error.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from stoker.errors import InvalidOption
from stoker_api.triggers.records import Kind

SCHEMES: Final = {
    "redis": Kind.REDIS,
    "rediss": Kind.REDIS,
    "amqp": Kind.RABBITMQ,
    "amqps": Kind.RABBITMQ,
    "nats": Kind.NATS,
    "tls": Kind.NATS,
    "kafka": Kind.KAFKA,
    "http": Kind.HTTP,
}
_HIDDEN: Final = "***"
_FORMS: Final = "redis://host:6379/0, amqp://user:password@host/, nats://host:4222, kafka://host:9092 or http:"


def kind_of(url: str) -> Kind:
    """Which kind of broker a URL names; raises ``InvalidOption``, which does not hold the URL."""
    if url in ("http", "http:", "cloudevents"):
        return Kind.HTTP
    parts = _split(url)
    kind = SCHEMES.get(parts.scheme)
    if kind is None or kind is Kind.HTTP:
        raise InvalidOption(f"url has the unknown scheme {parts.scheme!r}", hint=f"Known: {_FORMS}.")
    if not parts.hostname:
        raise InvalidOption("url names no host", hint=f"Write it as {_FORMS}.")
    return kind


def redacted(url: str) -> str:
    """For people: with ``***`` in place of passwords, tokens and whatever stands in the query."""
    try:
        parts = _split(url)
    except InvalidOption:
        return _HIDDEN
    userinfo, at, host = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if at:
        userinfo = f"{user}:{_HIDDEN}" if colon else _HIDDEN  # a user alone may be a token
    query = "&".join(f"{part.partition('=')[0]}={_HIDDEN}" for part in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, f"{userinfo}{at}{host}", parts.path, query, ""))


def without_secrets(text: str, url: str) -> str:
    """A library's message without what only the URL should know."""
    text = text.replace(url, redacted(url))
    parts = _split(url)
    userinfo, _, _ = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    values = [value for _, _, value in (part.partition("=") for part in parts.query.split("&"))]
    for secret in (password if colon else user, *values):
        if secret:
            text = text.replace(secret, _HIDDEN)
    return text


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if "," not in parts.netloc:  # several servers: Kafka's
            _ = parts.port  # raises for what is no number
    except ValueError:
        raise InvalidOption("url is no URL", hint=f"Write it as {_FORMS}.") from None
    return parts
