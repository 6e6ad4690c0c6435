"""The routes of the studio: each parses, asks one function in the worker's threads, and answers.

GET   /                 the page          GET  /api/models     what can be shown
GET   /api/densities    distributions     GET  /api/runs       every run's numbers
GET   /api/training     how far it is     GET  /api/preview    its newest picture
GET   /report?name=     a run's report
POST  /api/weigh  /api/restore  /api/example  /api/field  /api/usual  /api/odd
      /api/teach  /api/train  /api/stop
WS    /ws/chains  /ws/particles
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from gradlogp.app import draw, odd, plane, runs, trainings
from gradlogp.app.asks import FILE, Begin, Density, Drawing, Example, Odd, Particles, Training
from gradlogp.app.chains import chains
from gradlogp.app.guard import REPORT_POLICY, Guard, Rules
from gradlogp.app.library import Library, Unknown, cards
from gradlogp.app.session import Maker, Player, said
from gradlogp.app.worker import Superseded, Worker
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Energy
from gradlogp.samplers import LADDER_SAMPLERS, STEP_SAMPLERS

STATIC = Path(__file__).parent / "static"
BODIES = {"/api/odd": FILE * 4 // 3 + (64 << 10)}  # a file, as base64
SOCKETS = 8  # pages that watch at a time; one more takes the place of the oldest
Report = Callable[[Path], str]  # a run folder -> its report as HTML


class Which(BaseModel):
    """A model by its name."""

    run: str


def create(library: Library, report: Report | None = None, rules: Rules | None = None) -> FastAPI:
    """The studio as an ASGI application. `report` renders the report of a folder."""
    rules = rules or Rules()
    worker, jobs = Worker(), trainings.Trainings(library.folder, library.data)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await worker.run(warm)
        yield
        jobs.close()
        worker.close()

    app = FastAPI(
        title="gradlogp", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.worker, app.state.jobs = worker, jobs
    _errors(app)
    _shown(app, library, report)
    _asked(app, library, worker)
    _trained(app, jobs)
    _watched(app, library, worker)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    app.add_middleware(Guard, rules=replace(rules, bodies=BODIES))
    return app


def warm() -> None:
    """What torch imports at its first gradient, seconds of it, before anybody waits for a frame."""
    Energy(lambda x: x.square().sum(1)).score(torch.zeros(1, 1))


def _errors(app: FastAPI) -> None:
    """Whatever goes wrong is one line of JSON."""

    def line(status: int, text: str) -> JSONResponse:
        return JSONResponse({"error": text}, status)

    @app.exception_handler(UserError)
    async def user(request: Request, error: UserError) -> JSONResponse:
        return line(404 if isinstance(error, Unknown) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        return line(422, said(error.errors()[0]))

    @app.exception_handler(Superseded)
    async def old(request: Request, error: Superseded) -> JSONResponse:
        return line(409, "a newer request took the place of this one.")

    @app.exception_handler(HTTPException)
    async def none(request: Request, error: HTTPException) -> JSONResponse:
        return line(error.status_code, f"{request.method} {request.url.path}: {error.detail}.")

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        return line(500, "the studio has a fault here; the terminal that it runs in says which.")


def _shown(app: FastAPI, library: Library, report: Report | None) -> None:
    @app.get("/api/models")
    def models() -> dict[str, Any]:
        return {"models": cards(library)}

    @app.get("/api/densities")
    def densities() -> dict[str, Any]:
        return {
            "densities": plane.densities(),
            "stepping": list(STEP_SAMPLERS),
            "down": list(LADDER_SAMPLERS),
        }

    @app.get("/api/runs")
    def numbers() -> dict[str, Any]:
        return runs.table(library)

    @app.get("/report")
    def page(name: str) -> HTMLResponse:
        folder = library.report(name)
        if report is None:
            raise UserError("this studio was begun without reports.")
        return HTMLResponse(report(folder), headers={"content-security-policy": REPORT_POLICY})


def _asked(app: FastAPI, library: Library, worker: Worker) -> None:
    async def newest(request: Request, work: Callable[[], Any]) -> Any:
        page = request.headers.get("x-page", "")[:40]
        return await worker.newest(f"{request.url.path} {page}", work)

    @app.post("/api/weigh")
    async def weighed(request: Request, ask: Drawing) -> dict[str, Any]:
        return await newest(request, lambda: draw.weighed(library, ask))

    @app.post("/api/restore")
    async def restored(request: Request, ask: Drawing) -> dict[str, Any]:
        return await newest(request, lambda: draw.restored(library, ask))

    @app.post("/api/teach")
    async def taught(request: Request, ask: Which) -> dict[str, Any]:
        return await newest(request, lambda: draw.teach(library, ask.run))

    @app.post("/api/example")
    async def example(request: Request, ask: Example) -> dict[str, Any]:
        return await newest(request, lambda: draw.example(library, ask))

    @app.post("/api/field")
    async def field(request: Request, ask: Density) -> dict[str, Any]:
        return await newest(request, lambda: plane.picture(ask))

    @app.post("/api/usual")
    async def usual(request: Request, ask: Which) -> dict[str, Any]:
        return await newest(request, lambda: odd.histogram(library, ask.run))

    @app.post("/api/odd")
    async def scored(request: Request, ask: Odd) -> dict[str, Any]:
        return await newest(request, lambda: odd.scored(library, ask))


def _trained(app: FastAPI, jobs: trainings.Trainings) -> None:
    @app.get("/api/training")
    def training() -> dict[str, Any]:
        return {**jobs.status(), "choices": trainings.choices()}

    @app.get("/api/preview")
    def preview() -> Response:
        return Response(jobs.picture(), media_type="image/png")

    @app.post("/api/train")
    def train(ask: Training) -> dict[str, Any]:
        return jobs.begin(ask)

    @app.post("/api/stop")
    def stop(ask: dict[str, Any]) -> dict[str, Any]:
        return jobs.stop()


def _watched(app: FastAPI, library: Library, worker: Worker) -> None:
    open_: list[WebSocket] = []

    async def watch(socket: WebSocket, asks: type[BaseModel], make: Maker) -> None:
        await socket.accept()
        open_.append(socket)
        if len(open_) > SOCKETS:
            await open_.pop(0).close(1008, "a newer window took the place of this one")
        try:
            await Player(socket, asks, make, worker).play()
        finally:
            if socket in open_:
                open_.remove(socket)

    @app.websocket("/ws/chains")
    async def walked(socket: WebSocket) -> None:
        await watch(socket, Begin, lambda ask, former: chains(library, ask, former))

    @app.websocket("/ws/particles")
    async def particles(socket: WebSocket) -> None:
        await watch(socket, Particles, plane.swarm)
