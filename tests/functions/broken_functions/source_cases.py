"""Broken functions as source text, as curl would send them: (id, code, source, handler, options)."""

from __future__ import annotations

from typing import NamedTuple


class SourceCase(NamedTuple):
    """One function that would break at run time, and the code under which it must be found."""

    name: str
    code: str
    source: str
    handler: str = "f"
    options: dict[str, object] = {}  # noqa: RUF012  # read only


BATCH: dict[str, object] = {"batch": {"max_batch_size": 8}}

SOURCE_CASES = [
    SourceCase("syntax-error", "syntax_error", "def f(x:\n    return x"),
    SourceCase("bad-indentation", "syntax_error", "def f(x):\nreturn x"),
    SourceCase("return-outside-function", "syntax_error", "def f(x):\n    return x\nreturn 1"),
    SourceCase("await-outside-async", "syntax_error", "def f(x):\n    return await x"),
    SourceCase("null-byte", "syntax_error", "def f(x):\n    return '\0'"),
    SourceCase("python-2-print", "syntax_error", "def f(x):\n    print x"),
    SourceCase("empty-source", "handler_missing", ""),
    SourceCase("missing-handler", "handler_missing", "def g(x):\n    return x"),
    SourceCase("misspelt-handler", "handler_missing", "def embed(x):\n    return x", "embde"),
    SourceCase("handler-is-only-local", "handler_missing", "def outer():\n    def f(x):\n        return x"),
    SourceCase("missing-method-path", "handler_missing", "class A:\n    def g(self): ...", "A.f"),
    SourceCase("handler-is-a-number", "handler_not_callable", "f = 3"),
    SourceCase("handler-is-a-list", "handler_not_callable", "def g(x): return x\nf = [g]"),
    SourceCase("handler-is-an-alias-of-a-text", "handler_not_callable", "g = 'text'\nf = g"),
    SourceCase("main-only-handler", "handler_main_only", "if __name__ == '__main__':\n    def f(x):\n        return x"),
    SourceCase("private-handler", "handler_private", "def _f(x):\n    return x", "_f"),
    SourceCase("dunder-handler", "handler_private", "class A: ...", "A.__class__"),
    SourceCase("handler-is-no-name", "handler_name", "def f(x): return x", "f(1)"),
    SourceCase("handler-is-a-path", "handler_name", "def f(x): return x", "app.py::f"),
    SourceCase("relative-import", "relative_import", "from . import model\ndef f(x):\n    return x"),
    SourceCase("relative-import-inside", "relative_import", "def f(x):\n    from .model import go\n    return go(x)"),
    SourceCase("package-missing", "package_missing", "import not_a_real_package_xyz\ndef f(x):\n    return x"),
    SourceCase(
        "package-missing-from-own-environment",
        "package_missing",
        "import numpy as np\ndef f(x):\n    return np.sum(x)",
        options={"environment": {"python_packages": ["msgspec"]}},
    ),
    SourceCase("batch-without-parameters", "batch_no_parameters", "def f():\n    return []", options=BATCH),
    SourceCase("batch-of-star-args", "batch_variadic", "def f(*items):\n    return list(items)", options=BATCH),
    SourceCase("batch-of-star-kwargs", "batch_variadic", "def f(**items):\n    return [items]", options=BATCH),
    SourceCase("batch-keyword-only", "batch_keyword_only", "def f(*, items):\n    return items", options=BATCH),
    SourceCase("batch-generator", "batch_generator", "def f(items):\n    yield from items", options=BATCH),
    SourceCase(
        "batch-async-generator",
        "batch_generator",
        "async def f(items):\n    for item in items:\n        yield item",
        options=BATCH,
    ),
    SourceCase("batch-returns-int", "batch_return_type", "def f(items) -> int:\n    return 1", options=BATCH),
    SourceCase(
        "batch-method-generator",
        "batch_generator",
        "import stoker\nclass F:\n    @stoker.method\n    def go(self, x):\n        yield x",
        "F",
        BATCH,
    ),
    SourceCase("class-without-methods", "class_without_entry", "class F:\n    pass", "F"),
    SourceCase("class-with-unmarked-method", "class_without_entry", "class F:\n    def predict(self, x): ...", "F"),
    SourceCase(
        "class-inherits-nothing-to-call", "class_without_entry", "class A:\n    x = 1\nclass F(A):\n    pass", "F"
    ),
    SourceCase(
        "two-entries-without-default",
        "no_default_entry",
        "import stoker\nclass F:\n    @stoker.method\n    def a(self): ...\n    @stoker.method\n    def b(self): ...",
        "F",
    ),
    SourceCase(
        "two-defaults",
        "two_defaults",
        "from stoker import method\nclass F:\n    @method(default=True)\n    def a(self): ...\n"
        "    @method(default=True)\n    def b(self): ...",
        "F",
    ),
    SourceCase(
        "private-method",
        "method_name",
        "import stoker\nclass F:\n    @stoker.method\n    def _go(self, x): ...",
        "F",
    ),
    SourceCase(
        "init-with-arguments",
        "init_arguments",
        "class F:\n    def __init__(self, path): ...\n    def __call__(self, x): ...",
        "F",
    ),
    SourceCase(
        "enter-with-arguments",
        "hook_arguments",
        "import stoker\nclass F:\n    @stoker.enter\n    def go(self, path): ...\n    def __call__(self, x): ...",
        "F",
    ),
    SourceCase(
        "setup-with-arguments",
        "hook_arguments",
        "class F:\n    def setup(self, device): ...\n    def __call__(self, x): ...",
        "F",
    ),
    SourceCase(
        "exit-with-arguments",
        "hook_arguments",
        "import stoker\nclass F:\n    @stoker.exit\n    def end(self, code): ...\n    def __call__(self, x): ...",
        "F",
    ),
    SourceCase(
        "enter-yields",
        "hook_generator",
        "import stoker\nclass F:\n    @stoker.enter\n    def go(self):\n        yield\n    def __call__(self, x): ...",
        "F",
    ),
    SourceCase(
        "warmup-names-no-parameter",
        "warmup_arguments",
        "def f(a, b):\n    return a",
        options={"warmup": {"a": 1, "c": 2}},
    ),
    SourceCase(
        "warmup-is-one-value-for-two", "warmup_arguments", "def f(a, b):\n    return a", options={"warmup": "text"}
    ),
    SourceCase("aws-key", "captured_secret", "KEY = 'AKIAIOSFODNN7EXAMPLE'\ndef f(x):\n    return KEY"),
    SourceCase(
        "private-key", "captured_secret", "PEM = '''-----BEGIN RSA PRIVATE KEY-----\nabc'''\ndef f(x):\n    return PEM"
    ),
    SourceCase("api-key-in-a-call", "captured_secret", "def f(x):\n    return go(key='sk-abcdefghijklmnopqrstuv')"),
    SourceCase("password-by-name", "captured_secret", "db_password = 'hunter22'\ndef f(x):\n    return x"),
    SourceCase("url-with-password", "captured_secret", "URL = 'postgres://me:hunter22@db/x'\ndef f(x): return x"),
    SourceCase(
        "secret-in-env",
        "captured_secret",
        "def f(x):\n    return x",
        options={"env": {"OPENAI_API_KEY": "sk-abcdefghijklmnopqrstuv"}},
    ),
]
