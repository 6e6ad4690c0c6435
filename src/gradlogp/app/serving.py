"""Where the studio is served: this machine alone, unless a token guards it."""

import contextlib
import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import uvicorn

from gradlogp.app.guard import Rules
from gradlogp.app.library import Library
from gradlogp.app.server import Report, create
from gradlogp.app.session import LONGEST
from gradlogp.core.errors import UserError


@dataclass(frozen=True)
class Place:
    """An address to bind. Beyond this machine a token is needed; one is drawn where none is given."""

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    drawn: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secret(self) -> str | None:
        return self.token or (None if self.local else self.drawn)

    def rules(self) -> Rules:
        named = Rules().hosts | {self.host.lower()}
        if self.local:
            return Rules(named, token=self.secret)
        return Rules(named | {socket.gethostname().lower()}, addresses=True, token=self.secret)

    def bound(self) -> socket.socket:
        """A socket that listens there. Raises UserError where the port is taken or the host is not
        this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self.host, self.port))
        except (OSError, OverflowError) as error:
            listening.close()
            raise UserError(self._why(error)) from error
        listening.listen(64)
        return listening

    def _why(self, error: Exception) -> str:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            return f"port {self.port} is taken; choose another with --port, or 0 for any."
        said = getattr(error, "strerror", None) or error
        return f"cannot listen on {self.host} port {self.port}: {said}; choose another --host."

    def address(self, port: int) -> str:
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        name = f"[{shown}]" if ":" in shown else shown
        return f"http://{name}:{port}/" + (f"?token={self.secret}" if self.secret else "")


def serve(
    library: Library,
    place: Place,
    report: Report | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Serve until a signal ends it; `say` is told the address first."""
    listening = place.bound()
    app = create(library, report, place.rules())
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws_max_size=LONGEST,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    with contextlib.closing(listening):
        say(place.address(listening.getsockname()[1]))
        uvicorn.Server(config).run(sockets=[listening])
