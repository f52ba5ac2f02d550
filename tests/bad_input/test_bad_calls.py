"""Calls that cannot be: each gets a problem document that says what to change, and the next call works."""

from __future__ import annotations

import pytest

from tests.bad_input.calls import CALLS, JSON, BadCall
from tests.bad_input.canary import CANARY, PICKLES
from tests.support.raw_http import RawAnswer, exchange, parse_answers, request_bytes
from tests.support.running_platform import RunningPlatform

KINDS = sorted({call.path.split("?")[0].split(":")[0][:9] for call in CALLS})


def send(platform: RunningPlatform, call: BadCall) -> RawAnswer:
    headers = {"Authorization": f"Bearer {platform.token}"} | call.headers
    with platform.connect() as connection:
        data = exchange(connection, request_bytes(call.method, call.path, headers, call.body))
    (answer,) = parse_answers(data)
    return answer


def what_is_wrong(answer: RawAnswer, call: BadCall) -> str:
    """Empty where the answer is as it should be."""
    if answer.status == 200 and 200 in call.statuses:
        return "" if b"event: error" in answer.body else f"no error event: {answer.body[:200]!r}"
    if answer.status not in call.statuses:
        return f"{answer.status}, not {sorted(call.statuses)}: {answer.body[:300]!r}"
    document = answer.problem
    missing = [name for name in ("type", "title", "detail", "code", "hint", "request_id") if not document.get(name)]
    if missing or document["status"] != answer.status:
        return f"the problem document lacks {missing}: {document}"
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_bad_calls_are_refused_with_what_to_change(platform: RunningPlatform, kind: str) -> None:
    calls = [call for call in CALLS if call.path.startswith(kind)]
    wrong = {call.name: what_is_wrong(send(platform, call), call) for call in calls}
    assert not {name: text for name, text in wrong.items() if text}


def test_pickles_are_bytes_and_never_loaded(platform: RunningPlatform) -> None:
    for kind in ("application/octet-stream", "application/x-pickle", "application/python-pickle"):
        for data in PICKLES:
            answer = send(platform, BadCall(name="pickle", body=data, headers={"Content-Type": kind}))
            assert answer.status < 500
    assert not CANARY.exists()


@pytest.mark.parametrize("function", ["echo", "typed", "batched", "streaming"])
def test_bad_calls_among_good_ones_do_not_harm_them(platform: RunningPlatform, function: str) -> None:
    good = {"echo": b'{"x": 1}', "typed": b'{"count": 1, "point": {"x": 1}}', "batched": b'{"x": 1}',
            "streaming": b'{"n": 1}'}[function]  # fmt: skip
    bad = [call.body for call in CALLS if call.path == f"/f/{function}" and call.headers == JSON][:10]
    token = {"Authorization": f"Bearer {platform.token}", "Connection": "keep-alive", **JSON}
    requests = b"".join(request_bytes("POST", f"/f/{function}", token, body) for pair in bad for body in (good, pair))
    with platform.connect() as connection:
        end = request_bytes("POST", f"/f/{function}", token | {"Connection": "close"}, good)
        answers = parse_answers(exchange(connection, requests + end))
    assert [answer.status for answer in answers[::2]] == [200] * (len(bad) + 1)
    assert all(400 <= answer.status < 500 for answer in answers[1::2])
