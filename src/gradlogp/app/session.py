"""A websocket's chains: frames out, orders in.

A frame is the length of its JSON header (4 bytes, little-endian), the header, and the bytes of
what is shown. The page says how many steps a frame shows; frames come as fast as they are computed,
and no faster than is worth looking at.
"""

import asyncio
import json
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from gradlogp.app.asks import Order
from gradlogp.app.worker import Worker
from gradlogp.core.errors import UserError, printable

FRAMES = 30  # a second, at most
LONGEST = 256 << 10  # bytes of a message
Asked = TypeVar("Asked", bound=BaseModel)


class Frame(NamedTuple):
    header: dict[str, Any]
    payload: bytes = b""

    def packed(self) -> bytes:
        head = json.dumps(self.header, allow_nan=False).encode()
        return struct.pack("<I", len(head)) + head + self.payload


class Session(Protocol):
    """Chains under way; every call is made in one of the worker's threads, one at a time."""

    def frame(self) -> Frame: ...

    def advance(self, steps: int) -> Frame: ...

    def move(self, index: int, x: float, y: float) -> Frame: ...

    @property
    def done(self) -> bool: ...


Maker = Callable[[Any, Session | None], Session]  # (what was asked, the chains before) -> chains


def one_line(error: ValidationError) -> str:
    """What was wrong with an ask: the first thing, with its place."""
    wrong = error.errors(include_url=False)[0]
    return said(wrong)


def said(wrong: Mapping[str, Any]) -> str:
    if wrong["type"] == "json_invalid":
        return "the request is not JSON."
    where = ".".join(str(part) for part in wrong["loc"] if part != "body") or "the request"
    got = "" if wrong["type"] == "missing" else f", got {wrong['input']!r:.60}"
    return f"{where}: {wrong['msg'][:1].lower()}{wrong['msg'][1:]}{got}."


class Player:
    """One page's chains, from its first ask to its leaving."""

    def __init__(
        self, socket: WebSocket, asks: type[BaseModel], make: Maker, worker: Worker
    ) -> None:
        self.socket, self.asks, self.make, self.worker = socket, asks, make, worker
        self.messages: deque[str] = deque()
        self.news = asyncio.Event()
        self.gone = False
        self.session: Session | None = None
        self.going = False
        self.stride = 1

    async def play(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            while not self.gone:
                await self._turn()
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: a send after the close
            pass
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        try:
            while True:
                self.messages.append(await self.socket.receive_text())
                self.news.set()
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes, which no page of ours sends
            self.gone = True
            self.news.set()

    async def _turn(self) -> None:
        """Obey a word; else, of chains that go, one frame; else wait for a word."""
        if self.messages:
            await self._obeyed(self.messages.popleft())
        elif self.going:
            await self._walk()
        else:
            self.news.clear()
            await self.news.wait()

    async def _obeyed(self, text: str) -> None:
        try:
            await self._obey(text)
        except ValueError as error:  # a UserError, or settings that a sampler refuses
            self.going = False
            await self._complain(str(error))

    async def _obey(self, text: str) -> None:
        message = parsed(text)
        if message.pop("do", None) == "begin":
            return await self._begin(checked(self.asks, message))
        order = checked(Order, json.loads(text))
        if self.session is None:
            raise UserError(f"expected 'begin' first, got {order.do!r}; choose a model.")
        await self._ordered(order, self.session)

    async def _begin(self, ask: BaseModel) -> None:
        if any('"begin"' in text for text in self.messages):
            return  # a newer one waits already
        former = self.session
        self.session = session = await self.worker.run(lambda: self.make(ask, former))
        await self._send(self.worker.run(session.frame))

    async def _ordered(self, order: Order, session: Session) -> None:
        if order.do == "stride":
            self.stride = order.steps
        elif order.do == "move":
            await self._send(self.worker.run(lambda: session.move(order.index, order.x, order.y)))
        else:
            self.going = order.do == "go" and not session.done
            if order.do == "step":
                await self._send(self.worker.run(lambda: session.advance(order.steps)))

    async def _walk(self) -> None:
        """One frame of chains that go."""
        assert self.session is not None
        session, began = self.session, time.perf_counter()
        try:
            await self._send(self.worker.run(lambda: session.advance(self.stride)))
        except ValueError as error:
            self.going = False
            return await self._complain(str(error))
        self.going = self.going and not session.done
        await asyncio.sleep(max(0.0, 1 / FRAMES - (time.perf_counter() - began)))

    async def _send(self, frame: Awaitable[Frame]) -> None:
        await self.socket.send_bytes((await frame).packed())

    async def _complain(self, text: str) -> None:
        await self.socket.send_text(json.dumps({"error": printable(text)}))


def parsed(text: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise UserError(f"a message has at most {LONGEST:,} characters, got {len(text):,}.")
    try:
        message = json.loads(text)
    except ValueError as error:
        raise UserError(f"expected JSON, got {text[:40]!r}.") from error
    if not isinstance(message, dict):
        raise UserError(f'expected an object such as {{"do": "go"}}, got {text[:40]!r}.')
    return message


def checked(kind: type[Asked], message: Mapping[str, Any]) -> Asked:
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        raise UserError(one_line(error)) from error
