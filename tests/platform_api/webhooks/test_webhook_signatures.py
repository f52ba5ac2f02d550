"""Signatures: the standard's own example, and everything that must not pass."""

from __future__ import annotations

import pytest

from stoker.errors import AccessDenied, InvalidInput
from stoker.webhook import sign_webhook, verify_webhook
from stoker_api.webhooks.backoff import DELAYS_S, next_attempt_s
from stoker_api.webhooks.records import checked_filter, wants

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"event_type":"ping","data":{"success":true}}'
MESSAGE, AT_S = "msg_loFOjxBNrRLzqYUf", 1_731_705_121


def headers(signature: str) -> dict[str, str]:
    return {"Webhook-Id": MESSAGE, "Webhook-Timestamp": str(AT_S), "Webhook-Signature": signature}


def test_a_signature_is_what_the_standard_says() -> None:
    assert sign_webhook(SECRET, MESSAGE, AT_S, BODY) == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_a_message_passes_with_any_of_its_secrets_and_signatures() -> None:
    both = f"{sign_webhook(OTHER, MESSAGE, AT_S, BODY)} {sign_webhook(SECRET, MESSAGE, AT_S, BODY)}"
    for secret in (SECRET, OTHER, ["whsec_AAAA", SECRET]):
        assert verify_webhook(headers(both), BODY, secret, now_s=AT_S + 10)["event_type"] == "ping"


@pytest.mark.parametrize(
    ("changes", "body", "late_s", "message"),
    [
        ({}, BODY + b" ", 0, "no signature"),
        ({"Webhook-Id": "msg_other"}, BODY, 0, "no signature"),
        ({"Webhook-Timestamp": str(AT_S + 1)}, BODY, 0, "no signature"),
        ({"Webhook-Signature": "v1,AAAA v2,BBBB nonsense"}, BODY, 0, "no signature"),
        ({"Webhook-Signature": "é"}, BODY, 0, "no signature"),
        ({"Webhook-Signature": ""}, BODY, 0, "no header webhook-signature"),
        ({"Webhook-Timestamp": "now"}, BODY, 0, "Unix seconds"),
        ({}, BODY, 301, "301 s ago"),
        ({}, BODY, -301, "-301 s ago"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(changes: dict[str, str], body: bytes, late_s: int, message: str) -> None:
    sent = headers(sign_webhook(SECRET, MESSAGE, AT_S, BODY)) | changes
    with pytest.raises(AccessDenied, match=message):
        verify_webhook(sent, body, SECRET, now_s=AT_S + late_s)


def test_a_secret_that_is_none_is_named_as_such() -> None:
    with pytest.raises(InvalidInput, match="whsec_ and base64"):
        sign_webhook("whsec_not base64", MESSAGE, AT_S, BODY)


def test_attempts_go_on_for_a_day_and_end_with_one_at_its_end() -> None:
    now_s, give_up_s, attempts = 0.0, 86_400.0, 0
    while True:
        attempts += 1
        next_s = next_attempt_s("msg_1", attempts, now_s, give_up_s)
        if next_s is None:
            break
        assert next_s > now_s
        now_s = next_s
    assert now_s == give_up_s
    assert 15 <= attempts <= 25


def test_a_receiver_may_ask_for_more_time_within_bounds() -> None:
    assert next_attempt_s("msg_1", 1, 0.0, 86_400.0, 300.0) == 300.0
    assert next_attempt_s("msg_1", 1, 0.0, 86_400.0, 10.0**9) == DELAYS_S[-1]


def test_filters_name_events_kinds_or_everything() -> None:
    assert checked_filter(["job.*", "job.*", "schedule.run_late"]) == ("job.*", "schedule.run_late")
    assert wants(("job.*",), "job.failed")
    assert wants(("*",), "batch.failed")
    assert not wants(("job.failed",), "job.succeeded")
    assert not wants((), "job.failed")
    with pytest.raises(InvalidInput, match=r"no event 'jobs\.failed'"):
        checked_filter(["jobs.failed"])
