"""nginx, for files: one worker, in the foreground, with what its documentation recommends for files."""

from __future__ import annotations

import os
import shutil
import sys

from . import BACKLOG, HOST
from .static_files import folder

CONFIG = """
worker_processes 1;
daemon off;
master_process off;
pid {home}/nginx-{port}.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types {{ text/html html; }}
    client_body_temp_path {home}/nginx-{port}-body;
    proxy_temp_path {home}/nginx-{port}-proxy;
    fastcgi_temp_path {home}/nginx-{port}-fastcgi;
    uwsgi_temp_path {home}/nginx-{port}-uwsgi;
    scgi_temp_path {home}/nginx-{port}-scgi;
    server {{ listen {host}:{port} backlog={backlog}; root {root}; }}
}}
"""


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    program = shutil.which("nginx")
    if program is None:
        sys.exit("nginx is not installed")
    root = folder(certificate)
    config = root.parent / f"nginx-{address}.conf"
    text = CONFIG.format(home=root.parent, port=address, host=HOST, backlog=BACKLOG, root=root)
    config.write_text(text, encoding="utf-8")
    os.execv(program, [program, "-c", str(config)])
