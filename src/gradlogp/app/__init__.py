"""The studio: models seen and played with in a browser, by a server on this machine.

    page (static/)  --JSON-->  server  -->  one thread of torch  -->  tasks, samplers, harness
          <--binary frames--  chains that walk while they are watched

The room adds no mathematics: it asks what the command line asks and sends the answers as they come.
Needs the extra `app` (FastAPI, uvicorn, websockets); nothing here is imported without it.
"""

from gradlogp.app.library import Library
from gradlogp.app.server import create
from gradlogp.app.serving import Place, serve

__all__ = ["Library", "Place", "create", "serve"]
