"""What the decorators make, and how they fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import stoker
from stoker.errors import InvalidArguments, InvalidOption, PreflightFailed
from stoker.function import Function, Method


@stoker.function
def double(x: int) -> int:
    """Twice."""
    return 2 * x


@stoker.function(batch=stoker.Batch(max_batch_size=4))
def lengths(texts: list[str]) -> list[object]:
    return [len(text) if text else ValueError("empty") for text in texts]


@stoker.function(name="counter", scaling=stoker.Scaling(keep_alive_s=1))
class Counter:
    def __init__(self) -> None:
        self.started = 0

    @stoker.enter
    def start(self) -> None:
        self.started += 1

    @stoker.method
    def add(self, by: int) -> int:
        return self.started + by

    @stoker.method(default=True)
    def show(self) -> int:
        return self.started


def test_a_decorated_function_is_still_callable() -> None:
    assert isinstance(double, Function)
    assert double(2) == double.local(2) == 4
    assert (double.__name__, double.__doc__, double.options.name) == ("double", "Twice.", "double")


def test_a_batched_function_takes_one_item_locally() -> None:
    assert lengths.local("abc") == 3
    assert lengths.local(texts="ab") == 2
    with pytest.raises(ValueError, match="empty"):
        lengths.local("")


def test_a_default_is_a_list_too_in_a_batched_function() -> None:
    add = stoker.function(name="add", batch=stoker.Batch())(lambda x, y=1: [a + b for a, b in zip(x, y, strict=True)])

    assert (add.local(2), add.local(2, 3), add.local(x=2, y=4)) == (3, 5, 6)


def test_a_function_for_one_item_takes_one_locally_too() -> None:
    double = stoker.function(name="double", batch=stoker.Batch())(lambda x: x * 2)

    assert double.local(21) == 42


def test_a_batch_of_wrong_length_is_told() -> None:
    wrong = stoker.function(name="wrong", batch=stoker.Batch())(lambda items: [*items, 1])
    with pytest.raises(PreflightFailed, match="one result per item"):
        wrong.local(1)


async def test_an_async_function_is_awaited_by_its_caller() -> None:
    @stoker.function
    async def later(x: int) -> int:
        return x + 1

    @stoker.function(batch=stoker.Batch())
    async def later_batch(x: list[int]) -> list[int]:
        return [item + 1 for item in x]

    assert await later.local(1) == 2
    assert await later_batch.local(1) == 2


def test_a_generator_is_a_generator_locally() -> None:
    @stoker.function
    def count(n: int) -> object:
        yield from range(n)

    assert list(count.local(3)) == [0, 1, 2]


def test_a_class_is_started_once() -> None:
    assert Counter.add.local(2) == 3
    assert Counter.local() == 1
    assert isinstance(Counter.add, Method)


def test_a_class_without_default_asks_for_a_method() -> None:
    @stoker.function
    class Two:
        @stoker.method
        def a(self) -> int:
            return 1

        @stoker.method
        def b(self) -> int:
            return 2

    assert Two.b.local() == 2
    with pytest.raises(InvalidArguments, match="no entry") as caught:
        Two.local()
    assert caught.value.hint == "Entries: a, b."


@pytest.mark.parametrize("hook", [stoker.enter, stoker.exit, stoker.method])
def test_hooks_work_with_and_without_parentheses(hook: object) -> None:
    bare = hook(lambda self: None)  # type: ignore[operator]
    called = hook()(lambda self: None)  # type: ignore[operator]
    assert bare.__stoker_hook__ == called.__stoker_hook__ == hook.__name__  # type: ignore[attr-defined]


def test_a_static_method_can_be_an_entry() -> None:
    @stoker.function
    class Static:
        @stoker.method
        @staticmethod
        def above(x: int) -> int:
            return x

    assert Static.local(3) == 3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: stoker.function("embed"), "takes its options by keyword"),
        (lambda: stoker.function(double), "takes its options by keyword"),
        (lambda: stoker.function(name="f")(3), "stands above a function or a class"),
        (lambda: stoker.function(lambda x: x), "name must be given"),
        (lambda: stoker.enter("x"), "stands above a method"),
        (lambda: stoker.method(int), "Use @stoker.function on a class"),
        (lambda: stoker.function(memory_mb=3), "Did you mean 'memory_mib'?"),
    ],
)
def test_misuse_is_told_kindly(make: object, text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        make()  # type: ignore[operator]
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("own", "name"), [("Embed", "embed"), ("ImageModel", "image-model"), ("OCRModel", "ocr-model"), ("_go", "go")]
)
def test_names_are_derived(own: str, name: str) -> None:
    assert stoker.function(type(own, (), {"__call__": lambda self: 1})).options.name == name


def test_from_name_has_no_code_here() -> None:
    known = stoker.Function.from_name("embed", revision=3)
    assert repr(known) == "Function(default/embed@3)"
    assert isinstance(known.encode, Method)
    with pytest.raises(InvalidOption, match="known by name only"):
        known.local(1)
    with pytest.raises(InvalidOption, match="revision or an alias"):
        stoker.Function.from_name("embed", revision=3, alias="prod")
    with pytest.raises(InvalidOption, match="revision must be"):
        stoker.Function.from_name("embed", revision=0)


def test_an_absent_method_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no method 'subtract'"):
        _ = Counter.subtract
    with pytest.raises(AttributeError):
        _ = double.anything


def test_environment_is_checked_at_once() -> None:
    with pytest.raises(InvalidOption, match=r"Write \['numpy'\]"):
        stoker.Environment(python_packages="numpy")
    with pytest.raises(InvalidOption, match="requirements such as"):
        stoker.Environment(python_packages=["--index-url=http://x"])
    with pytest.raises(InvalidOption, match="module names"):
        stoker.Environment(preload=["os; import sys"])


def test_equal_environments_have_equal_digests() -> None:
    first = stoker.Environment(python_packages=["numpy", "torch>=2"], env={"A": "1", "B": "2"})
    second = stoker.Environment(python_packages=["torch>=2 ", "numpy", "numpy"], env={"B": "2", "A": "1"})
    assert first.digest == second.digest
    assert first.digest != stoker.Environment(python_packages=["numpy"]).digest


def test_responses_check_themselves() -> None:
    assert stoker.Response("x", status=404).status == 404
    for status in (99, 600, True, "200"):
        with pytest.raises(ValueError, match="status must be"):
            stoker.Response(status=status)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="line breaks"):
        stoker.Response(headers={"x": "a\r\nset-cookie: b"})


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        pytest.param(lambda: stoker.Batch(max_batchsize=3), "max_batch_size", id="batch"),  # type: ignore[call-arg]
        pytest.param(lambda: stoker.Scaling(min_replica=1), "min_replicas", id="scaling"),  # type: ignore[call-arg]
        pytest.param(lambda: stoker.Retries(attempts=2), "max_attempts", id="retries"),  # type: ignore[call-arg]
        pytest.param(lambda: stoker.Environment(pakages=[]), "python_packages", id="environment"),  # type: ignore[call-arg]
    ],
)
def test_an_unknown_keyword_of_an_option_is_answered_with_the_one_meant(make: Callable[[], object], meant: str) -> None:
    with pytest.raises(InvalidOption, match="has no option") as caught:
        make()
    assert caught.value.hint == f"Did you mean {meant!r}?"
