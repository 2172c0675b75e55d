"""What a file is, by the end of its name.  Pure.

The table is our own and not that of the machine, so that a site is the same wherever it is served.
"""

from __future__ import annotations

__all__ = ["kind_of"]

_TEXT = {
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "ics": "text/calendar",
    "js": "text/javascript",
    "log": "text/plain",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "rst": "text/plain",
    "tac": "text/plain",
    "toml": "text/plain",
    "txt": "text/plain",
    "vtt": "text/vtt",
    "xml": "text/xml",
    "yaml": "text/plain",
    "yml": "text/plain",
    "c": "text/plain",
    "h": "text/plain",
    "ini": "text/plain",
    "py": "text/plain",
    "sh": "text/plain",
}
_OTHER = {
    "7z": "application/x-7z-compressed",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "bz2": "application/x-bzip2",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "m4a": "audio/mp4",
    "map": "application/json",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "zst": "application/zstd",
}
_KINDS = {
    **{end: f"{kind}; charset=utf-8".encode("ascii") for end, kind in _TEXT.items()},
    **{end: kind.encode("ascii") for end, kind in _OTHER.items()},
}


def kind_of(name: str) -> bytes:
    """The ``content-type`` of a file; what is unknown is bytes that no browser shows."""
    return _KINDS.get(name.rpartition(".")[2].lower(), b"application/octet-stream")
