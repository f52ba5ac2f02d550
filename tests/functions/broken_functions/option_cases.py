"""Broken options: as decorator keywords and as the JSON that curl sends. (id, text the message must hold, options)."""

from __future__ import annotations

import math
from typing import Any

import stoker

DECORATOR_CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("name-with-spaces", "name must be", {"name": "my function"}),
    ("name-in-capitals", "name must be", {"name": "Embed"}),
    ("name-too-long", "name must be", {"name": "a" * 64}),
    ("name-is-no-text", "name must be", {"name": 3}),
    ("namespace-with-slash", "namespace must be", {"name": "f", "namespace": "a/b"}),
    ("gpu-empty", "gpu must look like", {"name": "f", "gpu": ""}),
    ("gpu-zero", "gpu must look like", {"name": "f", "gpu": "A100:0"}),
    ("gpu-bad-slice", "gpu must look like", {"name": "f", "gpu": "A100:1g10gb"}),
    ("gpu-empty-list", "gpu must not be an empty list", {"name": "f", "gpu": []}),
    ("unknown-option", "Did you mean 'timeout_s'?", {"timeout": 3}),
    ("unknown-option-batch", "Did you mean 'batch'?", {"batched": True}),
    ("schedule-text", "schedule must be stoker.Cron", {"name": "f", "schedule": "* * * * *"}),
    ("batch-is-a-number", "batch must be stoker.Batch", {"name": "f", "batch": 8}),
    ("retries-is-a-number", "retries must be stoker.Retries", {"name": "f", "retries": 3}),
    ("timeout-zero", "timeout_s must be > 0, got 0", {"name": "f", "timeout_s": 0}),
    ("timeout-is-a-text", "timeout_s must be a number", {"name": "f", "timeout_s": "10s"}),
    ("timeout-nan", "timeout_s must be a number", {"name": "f", "timeout_s": math.nan}),
    ("queue-depth-zero", "max_queue_depth must be", {"name": "f", "max_queue_depth": 0}),
    ("concurrency-with-batch", "concurrency must be 1", {"name": "f", "batch": stoker.Batch(), "concurrency": 2}),
    ("warmup-no-json", "warmup must be a JSON value", {"name": "f", "warmup": {1, 2}}),
    ("warmup-nan", "warmup must be a JSON value", {"name": "f", "warmup": math.nan}),
    ("env-of-numbers", "env must map strings to strings", {"name": "f", "env": {"A": 1}}),
    ("secrets-is-a-text", "secrets must be a list", {"name": "f", "secrets": "HF_TOKEN"}),
    ("environment-is-a-list", "environment must be a stoker.Environment", {"name": "f", "environment": ["numpy"]}),
    ("memory-negative", "memory_mib must be", {"name": "f", "memory_mib": -1}),
    ("cpu-zero", "cpu must be > 0", {"name": "f", "cpu": 0}),
    ("idempotent-is-a-text", "idempotent must be True or False", {"name": "f", "idempotent": "yes"}),
]

JSON_CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("batch-size-zero", "batch.max_batch_size must be", {"batch": {"max_batch_size": 0}}),
    ("batch-size-true", "batch.max_batch_size must be", {"batch": {"max_batch_size": True}}),
    ("batch-timeout-negative", "batch.batch_timeout_ms must be", {"batch": {"batch_timeout_ms": -1}}),
    ("batch-unknown-key", "Did you mean 'max_batch_size'?", {"batch": {"max_batchsize": 8}}),
    ("batch-cost-fn", "batch.cost_fn must be", {"batch": {"cost_fn": "tokens"}}),
    ("retries-zero", "retries.max_attempts must be", {"retries": {"max_attempts": 0}}),
    ("min-over-max", "scaling.min_replicas must be <= max_replicas", {"scaling": {"min_replicas": 9}}),
    ("keep-alive-word", "scaling.keep_alive_s must be", {"scaling": {"keep_alive_s": "forever"}}),
    ("schedule-text", "schedule must be stoker.Cron", {"schedule": "hourly"}),
    ("schedule-four-fields", "must have 5 fields, or 6 with seconds first", {"schedule": {"cron": "* * * *"}}),
    ("schedule-unknown-form", "is no known form", {"schedule": {"cron": "@fortnightly"}}),
    ("schedule-two-kinds", "either `cron` or `every_s`", {"schedule": {"cron": "@daily", "every_s": 60}}),
    ("schedule-no-kind", "either `cron` or `every_s`", {"schedule": {"timezone": "UTC"}}),
    ("schedule-unknown-key", "schedule has no option 'tz'", {"schedule": {"cron": "@daily", "tz": "UTC"}}),
    ("schedule-zone-number", "timezone must be a name", {"schedule": {"cron": "@daily", "timezone": 5}}),
    ("schedule-overlap", "schedule.overlap must be one of skip", {"schedule": {"cron": "@daily", "overlap": "drop"}}),
    ("schedule-misfire", "schedule.misfire must be one of skip", {"schedule": {"every_s": 60, "misfire": True}}),
    ("schedule-start", "schedule.start must be an ISO 8601 time", {"schedule": {"every_s": 60, "start": "tomorrow"}}),
    ("schedule-half-second", "a whole number of seconds", {"schedule": {"every_s": 1.5}}),
    ("schedule-too-often", "every 1 second to 366 days", {"schedule": {"every_s": 0}}),
    ("schedule-jitter", "schedule.jitter_s must be a number from 0", {"schedule": {"every_s": 60, "jitter_s": -1}}),
    ("packages-is-a-text", "environment.python_packages must be", {"environment": {"python_packages": "numpy"}}),
]
