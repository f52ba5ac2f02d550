"""Options survive the wire, and a wrong one is refused by its name and value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InvalidOption
from stoker.options import Batch, EnvironmentSpec, FunctionOptions, GpuRequest, Retries, Scaling
from stoker.spec import options_from_json, options_to_json

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_variables = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,7}", fullmatch=True), _texts, max_size=3).map(
    lambda d: tuple(sorted(d.items()))
)
_pairs = st.dictionaries(_texts, _texts, max_size=3).map(lambda d: tuple(sorted(d.items())))
_gpus = st.lists(st.sampled_from(["A100", "A100:2", "H100:1g.10gb", "L4"]).map(GpuRequest.parse), max_size=3).map(tuple)
_options = st.builds(
    FunctionOptions,
    name=st.just("embed"),
    namespace=st.sampled_from(["default", "team-a"]),
    environment=st.builds(EnvironmentSpec, python_packages=st.lists(_texts, max_size=2).map(tuple), env=_variables),
    gpu=_gpus,
    cpu=st.floats(0.1, 64),
    memory_mib=st.none() | st.integers(16, 10**6),
    batch=st.none() | st.builds(Batch, max_batch_size=st.integers(1, 512), cost_fn=st.sampled_from([None, "bytes"])),
    scaling=st.builds(
        Scaling,
        min_replicas=st.integers(0, 3),
        keep_alive_s=st.floats(0, 1e5) | st.just("adaptive"),
        warm=st.sampled_from([(), ("Mon-Fri 09:00-18:00 Asia/Kolkata", "22:00-06:00")]),
        prewarm_budget_s=st.none() | st.floats(0, 3600),
    ),
    retries=st.builds(Retries, max_attempts=st.integers(1, 9)),
    env=_variables,
    labels=_pairs,
    warmup=st.none() | st.dictionaries(_texts, st.integers(), max_size=2),
    idempotent=st.booleans(),
    coalesce=st.booleans(),
    max_concurrent_jobs=st.none() | st.integers(1, 100),
)


@given(_options)
def test_options_survive_json(options: FunctionOptions) -> None:
    wire = json.loads(json.dumps(options_to_json(options)))
    assert options_from_json("embed", wire) == options


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param({"timeout": 3}, "no option 'timeout'", id="unknown option"),
        pytest.param({"batch": {"max_batch": 3}}, "batch has no option 'max_batch'", id="unknown nested option"),
        pytest.param({"timeout_s": -1}, "timeout_s must be > 0, got -1", id="negative timeout"),
        pytest.param({"timeout_s": float("nan")}, "timeout_s must be a number > 0, got nan", id="nan timeout"),
        pytest.param({"concurrency": 0}, "concurrency must be a whole number from 1", id="no concurrency"),
        pytest.param({"concurrency": True}, "concurrency must be a whole number", id="boolean for a number"),
        pytest.param({"gpu": "A100:x"}, "gpu must look like", id="gpu shape"),
        pytest.param({"env": {"A": 1}}, "env must map strings to strings", id="env number"),
        pytest.param({"secrets": "one"}, "secrets must be a list of strings", id="secrets string"),
        pytest.param({"scaling": {"min_replicas": 5}}, "min_replicas must be <= max_replicas", id="min over max"),
        pytest.param({"scaling": {"warm": "daily 09:00-10:00"}}, "scaling.warm must be a list", id="warm as a text"),
        pytest.param({"scaling": {"warm": ["nine to five"]}}, "names no hours such as", id="warm without hours"),
        pytest.param({"scaling": {"warmth": "eager"}}, 'needs keep_alive_s="adaptive"', id="warmth with a fixed time"),
        pytest.param(
            {"scaling": {"keep_alive_s": "adaptive", "warmth": "hot"}},
            "one of frugal, balanced, eager",
            id="warmth word",
        ),
        pytest.param(
            {"scaling": {"keep_alive_s": "adaptive", "cold_start_target": 0}}, "must be > 0, got 0", id="no cold start"
        ),
        pytest.param(
            {"scaling": {"keep_alive_s": "adaptive", "gpu_second_cost": 1}}, "belong together", id="half a price"
        ),
        pytest.param(
            {"scaling": {"keep_alive_s": "adaptive", "warmth": "eager", "cold_start_target": 0.1}},
            "takes one of cold_start_target, warmth",
            id="two prices",
        ),
        pytest.param({"scaling": {"keep_alive_s": "soon"}}, 'seconds or "adaptive"', id="keep-alive word"),
        pytest.param(
            {"batch": {}, "concurrency": 2}, "concurrency must be 1 for a batched", id="batch and concurrency"
        ),
        pytest.param({"batch": 8}, "batch must be an object", id="batch number"),
    ],
)
def test_a_wrong_option_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOption, match=message.replace("(", r"\(")):
        options_from_json("embed", data)


@pytest.mark.parametrize("name", ["", "Über", "../etc", "a/b", "-a", "a" * 64, "A", "a b", "a\n"])
def test_a_name_is_a_label(name: str) -> None:
    with pytest.raises(InvalidOption, match="name must be 1 to 63"):
        FunctionOptions(name=name)


def test_an_empty_gpu_list_means_cpu() -> None:
    assert options_from_json("embed", {"gpu": []}).gpu == ()
