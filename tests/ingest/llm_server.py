"""An OpenAI-compatible server on loopback: chat completions, files, batches, and all their faults.

In: what it is told to do with a text (`faults`), how fast it may be asked, which fields it knows.
Out: answers made of the text itself; counts by text of what it was asked and what it answered to
the last byte. It runs in a thread of the tests, so that clients may be killed.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

MARKED = re.compile(r"BEGIN REPORT (\w+)\n(.*)\nEND REPORT \1", re.S)


def sentences_of(text: str) -> list[str]:
    return [f"{part.strip()}." for part in text.split(".") if part.strip()]


class LlmServer:
    """`faults[text]` are used up one by one: 429, 500, drop, hang, malformed, refusal, filter,
    length, long, page, error, bad, quota, redirect, later (429 with a long Retry-After)."""

    def __init__(self) -> None:
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.answer: Callable[[str], Any] = lambda text: {"sentences": sentences_of(text)}
        self.knows_schema = self.knows_object = True
        self.limit_field = "max_tokens"
        self.per_s = 0.0
        """Requests a second, above which it says 429; 0: no limit."""
        self.latency_s = 0.0
        self.says_usage = True
        self.bodies: deque[dict[str, Any]] = deque(maxlen=100)
        self.asked: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.batched: Counter[str] = Counter()
        """Of `written`, by batches."""
        self.statuses: Counter[int] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.tokens_in = self.tokens_out = 0
        self.starts: deque[float] = deque(maxlen=100_000)
        self.files: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.uploads = 0
        self.batch_fates: deque[str] = deque()
        """Of the batches to come: expired, failed, tokens, empty, drop (made, but not said)."""
        self.upload_fates: deque[str] = deque()
        self.batch_polls = 1
        """Looks at a batch before it is over."""
        self.on_step: Callable[[str], None] = lambda step: None
        self.url = ""
        self._room = 0.0
        self._filled = time.monotonic()

    # ------------------------------------------------------------------ chat completions

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.starts.append(time.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            response = await self._chat(request, body)
            self.statuses[response.status] += 1
            return response
        finally:
            self.in_flight -= 1

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.bodies.append(body)
        text = text_of(body)
        if self.per_s and not self._has_room():
            return _error(429, "slow down", headers={"Retry-After": "1"})
        fault = self.faults[text].popleft() if self.faults.get(text) else ""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if fault == "429":
            return _error(429, "slow down", headers={"retry-after-ms": "20", "Retry-After": "1"})
        if fault == "later":
            return _error(429, "come back tomorrow", headers={"Retry-After": "86400"})
        if fault == "quota":
            return _error(429, "You exceeded your current quota", "insufficient_quota")
        if fault == "500":
            return _error(500, "oops", headers={"retry-after-ms": "10"})
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "hang":
            await asyncio.sleep(3)
        if fault == "redirect":
            raise web.HTTPTemporaryRedirect(f"{self.url}/elsewhere")
        if fault == "page":
            return web.Response(text="<html>welcome</html>", content_type="text/html")
        if fault == "error":
            return web.json_response({"error": {"message": "upstream is away"}})
        if fault == "long":
            told = "This model's maximum context length is 8192 tokens"
            return _error(400, told, "context_length_exceeded")
        if fault == "bad":
            return _error(400, "no idea what you want")
        self.asked[text] += 1
        status, reply = self.completion(body, fault)
        response = web.Response(
            status=status, body=json.dumps(reply).encode(), content_type="application/json"
        )
        await response.prepare(request)
        await response.write_eof()
        if status == 200:
            self.written[text] += 1
        return response

    def completion(self, body: dict[str, Any], fault: str = "") -> tuple[int, dict[str, Any]]:
        """Status and reply to a body."""
        kind = body.get("response_format", {}).get("type", "text")
        if (kind == "json_schema" and not self.knows_schema) or (
            kind == "json_object" and not self.knows_object
        ):
            return 400, _fault(f"response_format of type {kind} is not supported")
        if self.limit_field not in body:
            other = "max_tokens"
            return 400, _fault(f"'{other}' is not supported, use '{self.limit_field}' instead")
        text = text_of(body)
        answer = self.answer(text)
        content = answer if isinstance(answer, str) else json.dumps(answer)
        message: dict[str, Any] = {"role": "assistant", "content": content}
        finish = "stop"
        if fault == "malformed":
            message["content"] = content[: len(content) // 2]
        elif fault == "refusal":
            message |= {"content": None, "refusal": "I cannot help with that."}
        elif fault in ("filter", "length"):
            finish = {"filter": "content_filter", "length": "length"}[fault]
        usage = {
            "prompt_tokens": sum(len(m["content"]) for m in body["messages"]) // 4,
            "completion_tokens": len(content) // 4,
        }
        self.tokens_in += usage["prompt_tokens"]
        self.tokens_out += usage["completion_tokens"]
        choice = {"index": 0, "message": message, "finish_reason": finish}
        reply = {"id": "c", "object": "chat.completion", "choices": [choice], "model": "m"}
        return 200, reply | ({"usage": usage} if self.says_usage else {})

    def _has_room(self) -> bool:
        now = time.monotonic()
        self._room = min(self.per_s, self._room + (now - self._filled) * self.per_s)
        self._filled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    # ------------------------------------------------------------------ files and batches

    async def upload(self, request: web.Request) -> web.StreamResponse:
        name, content = "", b""
        async for part in await request.multipart():
            if part.name == "file":  # type: ignore[union-attr]
                name, content = part.filename or "", bytes(await part.read())  # type: ignore
        self.uploads += 1
        file = self._new_file(name, content)
        self.on_step("uploaded")
        if self.upload_fates and self.upload_fates.popleft() == "drop":
            request.transport.abort()  # type: ignore[union-attr]
        return web.json_response(_public(file))

    def _new_file(self, name: str, content: bytes) -> dict[str, Any]:
        file_id = f"file-{len(self.files)}-{time.monotonic_ns()}"
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "filename": name,
            "purpose": "batch",
            "bytes": len(content),
            "created_at": 1,
            "status": "processed",
            "content": content,
        }
        return self.files[file_id]

    async def list_files(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(_page([_public(f) for f in self.files.values()], request))

    async def content(self, request: web.Request) -> web.StreamResponse:
        self.on_step("downloaded")
        file = self.files.get(request.match_info["id"])
        return web.Response(body=file["content"]) if file else _error(404, "no such file")

    async def delete(self, request: web.Request) -> web.StreamResponse:
        self.on_step("deleted")
        if self.files.pop(request.match_info["id"], None) is None:
            return _error(404, "no such file")
        return web.json_response({"id": "x", "object": "file", "deleted": True})

    async def make_batch(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        fate = self.batch_fates.popleft() if self.batch_fates else ""
        batch_id = f"batch-{len(self.batches)}"
        batch = {
            **wanted,
            "id": batch_id,
            "object": "batch",
            "created_at": 1,
            "status": "in_progress",
            "polls": 0,
            "fate": fate,
        }
        self.batches[batch_id] = batch
        if fate not in ("failed", "tokens"):
            self._work(batch)
        self.on_step("made")
        if fate == "drop":
            request.transport.abort()  # type: ignore[union-attr]
        return web.json_response(_public(batch))

    def _work(self, batch: dict[str, Any]) -> None:
        """Answer all lines (half of them where it expires) when a batch is made: they are paid."""
        lines = self.files[batch["input_file_id"]]["content"].splitlines()
        if batch["fate"] == "expired":
            lines = lines[: len(lines) // 2]
        good, bad = [], []
        for line in lines:
            row = json.loads(line)
            text = text_of(row["body"])
            fault = self.faults[text].popleft() if self.faults.get(text) else ""
            if fault == "500":
                status, reply = 500, _fault("oops")
            elif fault == "long":
                status, reply = 400, _fault("maximum context length")
            else:
                status, reply = self.completion(row["body"], fault)
            self.asked[text] += 1
            self.written[text] += status == 200
            self.batched[text] += status == 200
            result = {"custom_id": row["custom_id"], "error": None}
            result["response"] = {"status_code": status, "body": reply}
            (good if status == 200 else bad).append(json.dumps(result))
        if batch["fate"] == "empty":
            good = []
        for field, rows in (("output_file_id", good), ("error_file_id", bad)):
            if rows:
                file = self._new_file(f"{field}.jsonl", "\n".join([*rows, ""]).encode())
                batch[field] = file["id"]

    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(_page([_public(b) for b in self.batches.values()], request))

    async def batch(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches[request.match_info["id"]]
        batch["polls"] += 1
        if batch["polls"] > self.batch_polls:
            fate = batch["fate"]
            ends = {"expired": "expired", "failed": "failed", "tokens": "failed"}
            batch["status"] = ends.get(fate, "completed")
            code = "token_limit_exceeded" if fate == "tokens" else "invalid_request"
            if batch["status"] == "failed":
                batch["errors"] = {"object": "list", "data": [{"code": code, "message": "no"}]}
        self.on_step("looked")
        return web.json_response(_public(batch))

    # ------------------------------------------------------------------ running

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self.chat),
                web.post("/v1/files", self.upload),
                web.get("/v1/files", self.list_files),
                web.get("/v1/files/{id}/content", self.content),
                web.delete("/v1/files/{id}", self.delete),
                web.post("/v1/batches", self.make_batch),
                web.get("/v1/batches", self.list_batches),
                web.get("/v1/batches/{id}", self.batch),
            ]
        )
        return app


def text_of(body: dict[str, Any]) -> str:
    """The report in a request."""
    found = MARKED.fullmatch(body["messages"][-1]["content"])
    assert found
    return found[2]


def _public(thing: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in thing.items() if k not in ("content", "polls", "fate")}


def _page(things: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
    """Newest first, a few at a time, as the API lists."""
    newest = things[::-1]
    ids = [thing["id"] for thing in newest]
    after = request.query.get("after")
    start = ids.index(after) + 1 if after in ids else 0
    page = newest[start : start + 2]
    return {"object": "list", "data": page, "has_more": start + 2 < len(newest)}


def _fault(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "type": "x", "param": None}}


def _error(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(_fault(message, code), status=status, headers=headers)


@contextmanager
def serving(server: LlmServer | None = None) -> Iterator[LlmServer]:
    """A server in a thread of its own, on a free port of loopback."""
    server = server or LlmServer()
    started = threading.Event()
    loop: asyncio.AbstractEventLoop
    over: asyncio.Event

    async def main() -> None:
        nonlocal loop, over
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
