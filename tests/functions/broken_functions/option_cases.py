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
    ("schedule-here", "has no option 'schedule'", {"schedule": "* * * * *"}),
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
    ("schedule-unknown", "has no option 'schedule'", {"schedule": "hourly"}),
    ("packages-is-a-text", "environment.python_packages must be", {"environment": {"python_packages": "numpy"}}),
]
