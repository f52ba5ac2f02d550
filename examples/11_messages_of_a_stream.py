"""A function that runs on each message of a Redis stream, and on events that are posted; nothing is polled by you.

Messages are taken off the stream after their result has been put on another one, and those that fail three times go
to a stream of their own, with the reason.

    pip install "stoker[triggers]"
    stoker deploy examples/11_messages_of_a_stream.py
    stoker triggers create desk sort-mail --url redis://127.0.0.1:6379 --topic mails --results sorted
    redis-cli XADD mails '*' data '{"subject": "Invoice 1848", "text": "Please pay for the coal."}'
    redis-cli XREAD BLOCK 0 STREAMS sorted 0
    redis-cli XADD mails '*' data '{"subject": "", "text": ""}'
    redis-cli XREAD BLOCK 0 STREAMS mails-dead 0
    stoker triggers show desk

The same without a broker: a trigger at `http:` takes CloudEvents, and answers with one.

    stoker triggers create posted sort-mail --url http: --reply-type com.example.sorted
    curl -i "$STOKER_URL/v1/triggers/posted/events" -H "Authorization: Bearer $STOKER_TOKEN" \
      -H "ce-specversion: 1.0" -H "ce-id: 1" -H "ce-source: /desk" -H "ce-type: com.example.mail" \
      -H "content-type: application/json" -d '{"subject": "Late again", "text": "My train was late."}'
"""

from __future__ import annotations

import stoker

DESKS = {
    "accounts": {"bill", "invoice", "paid", "pay", "refund"},
    "complaints": {"broken", "cold", "delay", "late", "lost"},
    "timetable": {"departure", "platform", "time", "train", "when"},
}


@stoker.function(name="sort-mail", batch=stoker.Batch(max_batch_size=32), idempotent=True)
def sort_mail(subject: list[str], text: list[str]) -> list[dict[str, object]]:
    """The desk that a mail is for; mails that wait together arrive together, as lists."""
    return [sorted_one(*mail) for mail in zip(subject, text, strict=True)]


def sorted_one(subject: str, text: str) -> dict[str, object]:
    """One mail; an empty one raises, which costs only itself."""
    words = {word.strip(".,!?").lower() for word in f"{subject} {text}".split()}
    if not words:
        raise ValueError("the mail is empty")
    hits = {desk: len(words & known) for desk, known in DESKS.items()}
    best = max(hits, key=lambda desk: hits[desk])
    return {"subject": subject, "desk": best if hits[best] else "front desk"}


if __name__ == "__main__":
    print(sort_mail.local(subject="Invoice 1848", text="Please pay for the coal."))
