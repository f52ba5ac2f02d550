"""Each numbered example, deployed as its docstring says and called as a user would, with its real model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import mul
from pathlib import Path

import httpx
import pytest
from tests.support.brokers import need, redis
from tests.support.running_platform import running_platform
from tests.support.served_platform import ServedPlatform, served_platform

ROOT = Path(__file__).resolve().parent.parent.parent
TORCH_PYTHON = ROOT / ".cache/examples-env/bin/python"
pytestmark = [pytest.mark.examples, pytest.mark.slow]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlatform]:
    with served_platform(tmp_path_factory.mktemp("examples")) as served:
        yield served


@pytest.fixture(scope="module")
def torch_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlatform]:
    """A platform whose own interpreter has torch."""
    if not TORCH_PYTHON.exists():
        message = "`make examples-env` makes the interpreter of this example"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with served_platform(tmp_path_factory.mktemp("torch-examples"), str(TORCH_PYTHON)) as served:
        yield served


def deploy(platform: ServedPlatform, file: str) -> None:
    platform.cli("deploy", str(ROOT / "examples" / file))


def test_hello_greets_by_cli_and_by_http(platform: ServedPlatform) -> None:
    deploy(platform, "01_hello.py")
    assert "Hello, world!" in platform.cli("call", "hello", "name=world").stdout
    with platform.client() as http:
        assert http.post("/f/hello", json={"name": "stoker"}).json() == "Hello, stoker!"


def test_embeddings_of_like_texts_are_near_and_calls_at_once_share_a_batch(platform: ServedPlatform) -> None:
    deploy(platform, "02_embeddings.py")
    texts = ["a cat sat on the mat", "a kitten rests on a rug", "the boiler is out of water"] * 16
    with platform.client() as http, ThreadPoolExecutor(len(texts)) as pool:
        ask = lambda text: http.post("/f/embed", json={"text": text}, headers={"Stoker-Receipt": "1"}).json()  # noqa: E731
        answers = list(pool.map(ask, texts))
    cat, kitten, boiler = (answer["result"] for answer in answers[:3])
    assert len(cat) == 384
    assert sum(map(mul, cat, cat)) == pytest.approx(1.0, abs=1e-4)
    assert sum(map(mul, cat, kitten)) > 0.5 > sum(map(mul, cat, boiler))
    assert max(answer["receipt"]["batch_size"] for answer in answers) > 1


def test_the_picture_of_a_flower_is_a_daisy(torch_platform: ServedPlatform) -> None:
    deploy(torch_platform, "03_image_classifier.py")
    find = "import importlib.util as u; print(u.find_spec('sklearn').submodule_search_locations[0])"
    folder = subprocess.run([TORCH_PYTHON, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    flower = Path(folder, "datasets/images/flower.jpg").read_bytes()
    with torch_platform.client() as http:
        answer = http.post("/f/classify", content=flower, headers={"Content-Type": "image/jpeg"})
    assert answer.json()[0]["name"] == "daisy"


def test_text_that_was_drawn_is_read_back(platform: ServedPlatform) -> None:
    deploy(platform, "04_ocr.py")
    with platform.client() as http:
        page = http.post("/f/picture", json={"text": "Shovel coal thinly\nand often 1848"})
        assert page.headers["content-type"] == "image/png"
        found = http.post("/f/read", content=page.content, headers={"Content-Type": "image/png"}).json()
    assert [line["text"] for line in found] == ["Shovel coal thinly", "and often 1848"]


def test_a_language_model_answers_token_by_token(torch_platform: ServedPlatform) -> None:
    deploy(torch_platform, "05_token_streaming.py")
    prompt = {"prompt": "What is the capital of France?"}
    events: list[tuple[str, object]] = []
    with torch_platform.client() as http:
        with http.stream("POST", "/f/chat", json=prompt, headers={"Accept": "text/event-stream"}) as stream:
            name = ""
            for line in stream.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    events.append((name, json.loads(value)))
    pieces = [str(data) for name, data in events if name == "item"]
    assert len(pieces) > 3
    assert "Paris" in "".join(pieces)
    assert events[-1][0] == "end"


def test_a_gauge_remembers_between_calls(platform: ServedPlatform) -> None:
    deploy(platform, "06_stateful_class.py")
    with platform.client() as http:
        for pressure_bar in (9.0, 10.0, 11.0):
            http.post("/f/gauge", json={"pressure_bar": pressure_bar}, headers={"Stoker-Method": "observe"})
        summary = http.post("/f/gauge", json={}, headers={"Stoker-Method": "summary"}).json()
    assert summary == {"count": 3, "mean_bar": 10.0, "deviation_bar": pytest.approx(0.8165, abs=1e-3)}


def test_a_function_runs_with_its_own_packages_and_variables(platform: ServedPlatform) -> None:
    deploy(platform, "07_custom_environment.py")
    with platform.client() as http:
        assert http.post("/f/spell", json={"number": 42}).json() == "tweeënveertig"
        assert http.post("/f/spell", json={"number": 42, "language": "fr"}).json() == "quarante-deux"


def test_a_job_says_how_far_it_is(platform: ServedPlatform) -> None:
    deploy(platform, "08_job_with_progress.py")
    job = platform.cli("call", "count_primes", "below=100000", "--async").stdout.strip()
    assert platform.cli("jobs", "result", job).stdout.strip() == "9592"
    events = platform.cli("jobs", "events", job).stdout
    assert "100%" in events
    assert "candidates left" in events


def test_a_webhook_receiver_believes_the_platform_and_nobody_else(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    example = str(ROOT / "examples/09_webhook_receiver.py")
    with running_platform(tmp_path / "data", {"webhooks_allowed_networks": "127.0.0.0/8"}) as platform:
        served = ServedPlatform(
            url=platform.url, token=platform.token, python=sys.executable, data_dir=platform.data_dir, pid=0
        )
        served.cli("deploy", example)
        secret = served.cli("webhooks", "create", f"http://127.0.0.1:{port}/hooks").stdout.strip()
        receiver = subprocess.Popen([sys.executable, example, str(port), secret], stdout=subprocess.PIPE, text=True)
        assert receiver.stdout is not None
        try:
            assert "listening" in receiver.stdout.readline()
            job = served.cli("call", "count-words", "text=coal and coal", "--async").stdout.strip()
            assert receiver.stdout.readline() == f"job.succeeded {job} {{'and': 1, 'coal': 2}}\n"
            forged = httpx.post(f"http://127.0.0.1:{port}/hooks", json={"type": "job.succeeded", "data": {}})
            assert forged.status_code == 401
            assert receiver.stdout.readline() == "refused: the webhook has no header webhook-id\n"
        finally:
            receiver.terminate()
            receiver.wait(10)
            receiver.stdout.close()


def test_a_folder_of_notes_is_embedded_as_one_run(platform: ServedPlatform, tmp_path: Path) -> None:
    deploy(platform, "10_nightly_embeddings.py")
    out = tmp_path / "vectors"
    notes = str(ROOT / "examples/data/notes")
    platform.cli("batch", "run", "embed-notes", notes, "--output", str(out), "--key", "path")
    rows = [json.loads(line) for line in (out / "part-00000.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["boiler.md", "brakes.md", "coal.md", "signals.md", "tea.md"]
    assert {len(row["result"]) for row in rows} == {384}
    assert json.loads((out / "manifest.json").read_text())["succeeded"] == 5


def test_mails_of_a_stream_are_sorted_and_an_empty_one_is_a_dead_letter(
    platform: ServedPlatform, tmp_path: Path
) -> None:
    deploy(platform, "11_messages_of_a_stream.py")
    broker = redis(tmp_path)

    def redis_cli(*words: str) -> str:
        command = [need("redis-cli", "redis-tools"), "-u", broker.url, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    broker.start()
    try:
        create = ["triggers", "create", "desk", "sort-mail", "--url", broker.url, "--topic", "mails"]
        platform.cli(*create, "--results", "sorted")
        redis_cli("XADD", "mails", "*", "data", '{"subject": "Invoice 1848", "text": "Please pay for the coal."}')
        assert '"desk":"accounts"' in redis_cli("XREAD", "BLOCK", "60000", "STREAMS", "sorted", "0")
        redis_cli("XADD", "mails", "*", "data", '{"subject": "", "text": ""}')
        assert "the mail is empty" in redis_cli("XREAD", "BLOCK", "60000", "STREAMS", "mails-dead", "0")
        assert "consuming" in platform.cli("triggers", "show", "desk").stdout
        platform.cli("triggers", "delete", "desk")
    finally:
        broker.kill()


def test_a_posted_event_is_sorted_and_answered_with_an_event(platform: ServedPlatform) -> None:
    deploy(platform, "11_messages_of_a_stream.py")
    platform.cli("triggers", "create", "posted", "sort-mail", "--url", "http:", "--reply-type", "com.example.sorted")
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/desk", "ce-type": "com.example.mail"}
    mail = {"subject": "Late again", "text": "My train was late."}
    with platform.client() as http:
        answer = http.post("/v1/triggers/posted/events", json=mail, headers=headers)
    assert (answer.status_code, answer.json()["desk"]) == (200, "complaints")
    assert answer.headers["ce-type"] == "com.example.sorted"
