"""A server that was written for asyncio, as a leaf: FTP, by the library aioftp.

    office
    ├─ folder           ours: makes the folder, and clears it away at the end
    └─ ftp              asyncio's: an FTP server for that folder, on port 7023

Needs:            pip install 'trioservice[asyncio]' aioftp
Run it:           trioservice run examples/23_asyncio.tac
Talk to it:       curl ftp://127.0.0.1:7023/menu.txt
Or:               curl -T README.md ftp://127.0.0.1:7023/
Stop it:          Ctrl-C; nobody is in the folder any more when it is cleared away
"""

import asyncio
import tempfile
from pathlib import Path

import aioftp
import trio

from trioservice import Application, TaskService
from trioservice.integrations.asyncio import AsyncioService


class Office:
    folder: Path

    async def keep_folder(self, task_status):
        """In trio."""
        with tempfile.TemporaryDirectory() as folder:
            self.folder = Path(folder)
            await trio.Path(folder, "menu.txt").write_text("soup\n")
            task_status.started()
            await trio.sleep_forever()

    async def serve_ftp(self, task_status):
        """In asyncio; what is awaited here is asyncio's."""
        server = aioftp.Server([aioftp.User(base_path=self.folder)])
        await server.start("127.0.0.1", 7023)
        task_status.started()
        try:
            await asyncio.Event().wait()  # for ever: a stop is a cancellation
        finally:
            await server.close()


office = Office()
application = Application(
    "office",
    TaskService(office.keep_folder, name="folder"),
    AsyncioService(office.serve_ftp, name="ftp"),
)
