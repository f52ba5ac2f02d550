"""A job that takes its time and says how far it is.

Submit it, close the laptop, and ask for the answer tomorrow. The function is idempotent, so a platform that is killed
in the midst runs it again after its next start.

    stoker serve
    stoker deploy examples/08_job_with_progress.py
    stoker call count_primes below=3000000 --async
    stoker jobs events JOB
    stoker jobs result JOB
"""

from __future__ import annotations

import stoker

STEPS = 20


@stoker.function(idempotent=True, scaling=stoker.Scaling(max_replicas=2))
def count_primes(below: int) -> int:
    """How many primes there are below a number, by a sieve in steps."""
    sieve = bytearray([1]) * max(below, 2)
    sieve[:2] = b"\0\0"
    root = int(below**0.5) + 1
    for step in range(STEPS):
        until = (step + 1) * root // STEPS
        for number in range(step * root // STEPS, until):
            if number > 1 and sieve[number]:
                multiples = len(range(number * number, below, number))
                sieve[number * number : below : number] = bytes(multiples)
        print(f"step {step + 1}: {sum(sieve)} candidates left")
        stoker.progress((step + 1) / STEPS, f"sieved by numbers below {until} of {root}")
    return sum(sieve)


if __name__ == "__main__":
    job = count_primes.spawn(below=3_000_000)
    for event in job.events():
        if event["kind"] == "progress":
            print(f"{event['fraction']:.0%} {event['message']}")
    print(job.result())
