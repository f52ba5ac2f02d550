"""A trigger as somebody asks for it, and the record that comes of it. Pure.

The rule that must not break: what could never run, or would feed itself, is refused with the option's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stoker.errors import InvalidOption
from stoker.options import check_name
from stoker_api.triggers.address import kind_of, redacted
from stoker_api.triggers.records import (
    MOST_ATTEMPTS,
    MOST_IN_FLIGHT,
    Kind,
    Passed,
    Start,
    TriggerRecord,
)

_LONGEST_URL: Final = 2048
_TOPIC: Final = re.compile(r"[^\s\x00-\x1f]{1,249}")
_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_WILD: Final = re.compile(r"(^|\.)(\*|>)(\.|$)")
_BROKER_ONLY: Final = ("topic", "group", "results", "dead_letters")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrigger:
    """What is asked for; empty texts mean the default."""

    name: str
    function: str
    url: str
    topic: str = ""
    ref: str | None = None
    method: str | None = None
    group: str = ""
    results: str = ""
    dead_letters: str = ""
    passed: Passed = Passed.DATA
    start: Start = Start.EARLIEST
    max_in_flight: int = 64
    max_attempts: int = 3
    reply_type: str = ""
    is_paused: bool = False


def checked(new: NewTrigger) -> Kind:
    """Raise ``InvalidOption`` for what could not work."""
    check_name("name", new.name)
    if len(new.url) > _LONGEST_URL:
        raise InvalidOption(f"url must have at most {_LONGEST_URL} characters, got {len(new.url)}")
    kind = kind_of(new.url)
    check_bounds(new.max_in_flight, new.max_attempts)
    if kind is Kind.HTTP:
        for option in _BROKER_ONLY:
            if getattr(new, option):
                raise InvalidOption(f"{option} is for brokers; CloudEvents over HTTP are answered to their sender")
        return kind
    _check_topics(new, kind)
    return kind


def check_bounds(max_in_flight: int, max_attempts: int) -> None:
    """What may be changed later too; raises ``InvalidOption``."""
    if not 1 <= max_in_flight <= MOST_IN_FLIGHT:
        raise InvalidOption(f"max_in_flight must be from 1 to {MOST_IN_FLIGHT}, got {max_in_flight}")
    if not 1 <= max_attempts <= MOST_ATTEMPTS:
        raise InvalidOption(f"max_attempts must be from 1 to {MOST_ATTEMPTS}, got {max_attempts}")


def record_of(
    new: NewTrigger, kind: Kind, *, trigger_id: str, namespace: str, sealed: bytes, now_s: float
) -> TriggerRecord:
    """The record, with its defaults filled in."""
    is_http = kind is Kind.HTTP
    return TriggerRecord(
        id=trigger_id,
        namespace=namespace,
        name=new.name,
        kind=kind,
        function=new.function,
        ref=new.ref,
        method=new.method,
        url_sealed=sealed,
        shown_url="http:" if is_http else redacted(new.url),
        topic=new.topic,
        group="" if is_http else new.group or f"stoker-{namespace}-{new.name}",
        results=new.results,
        dead_letters="" if is_http else new.dead_letters or default_dead_letters(new.topic),
        passed=new.passed,
        start=new.start,
        max_in_flight=new.max_in_flight,
        max_attempts=new.max_attempts,
        reply_type=new.reply_type,
        is_paused=new.is_paused,
        created_s=now_s,
        updated_s=now_s,
    )


def default_dead_letters(topic: str) -> str:
    """Where messages go that used up their attempts."""
    return f"{topic}-dead"


def _check_topics(new: NewTrigger, kind: Kind) -> None:
    for option, value in (("topic", new.topic), ("results", new.results), ("dead_letters", new.dead_letters)):
        if not value and option != "topic":
            continue
        if not _TOPIC.fullmatch(value):
            raise InvalidOption(f"{option} must be 1 to 249 characters without spaces, got {value[:60]!r}")
        if kind is Kind.NATS and _WILD.search(value) and option != "topic":
            raise InvalidOption(f"{option} must name one subject, got {value!r}")
    if new.group and not _GROUP.fullmatch(new.group):
        raise InvalidOption(f"group must be 1 to 128 of letters, digits, '-' and '_', got {new.group[:60]!r}")
    dead_letters = new.dead_letters or default_dead_letters(new.topic)
    if kind is Kind.NATS and not new.dead_letters and _WILD.search(new.topic):
        raise InvalidOption(
            f"dead_letters must be named where the topic has wildcards, got {new.topic!r}",
            hint="For example: --dead-letters dead.orders",
        )
    for option, value in (("results", new.results), ("dead_letters", dead_letters)):
        if value == new.topic or (kind is Kind.NATS and value and _covers(new.topic, value)):
            raise InvalidOption(
                f"{option} {value!r} is what the trigger itself consumes",
                hint="Take another topic: this one feeds itself.",
            )


def _covers(pattern: str, subject: str) -> bool:
    """Whether a NATS subject with wildcards takes in another subject."""
    wanted, given = pattern.split("."), subject.split(".")
    for at, part in enumerate(wanted):
        if part == ">":
            return len(given) > at
        if at >= len(given) or part not in ("*", given[at]):
            return False
    return len(wanted) == len(given)
