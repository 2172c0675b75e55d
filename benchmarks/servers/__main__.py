"""One server, in this process: ``python -m benchmarks.servers MODULE TRANSPORT SERVICE ADDRESS CERTIFICATE``.

The address is a port of 127.0.0.1, or a path for ``unix``; the certificate is a file with its key.
"""

import importlib
import sys

# asyncio receives into buffers of 256 KiB.  glibc maps and unmaps memory for each of them, at three system
# calls and more than twice the cost of the whole echo, until the process has happened to free something
# larger.  So that no figure hangs on that luck, everybody has freed something larger.
bytes(2 << 20)

module, *task = sys.argv[1:]
importlib.import_module(f".{module}", __package__).serve(*task)
