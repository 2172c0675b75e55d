"""How Sphinx builds these pages. `make docs` runs it with every warning an error."""

import sys
from pathlib import Path

import trioservice

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import command_line  # noqa: E402 - it stands beside this file
import diagrams  # noqa: E402
import endpoints  # noqa: E402

# What is drawn or written from the code is made anew for each build, and included by the pages.
GENERATED = HERE / "_build" / "generated"
GENERATED.mkdir(parents=True, exist_ok=True)
for file, text in {
    "states.svg": diagrams.states(),
    "order.svg": diagrams.order(),
    "lanes.svg": diagrams.lanes(),
    "help.md": command_line.help_texts(),
    "exit-statuses.md": command_line.exit_statuses(),
    "settings.md": command_line.settings(),
    "forms.md": command_line.forms(),
    "twistd.md": command_line.twistd(),
    "endpoints.md": endpoints.kinds(),
    "endpoint-forms.md": endpoints.forms(),
}.items():
    (GENERATED / file).write_text(text, encoding="utf-8")
endpoints.hide_forms()

project = "trioservice"
author = "The trioservice authors"
copyright = f"2026, {author}"
version = release = trioservice.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"trioservice {version}"

# Lets a link name a heading, as in [the floors](architecture.md#the-floors), and checks that it is there.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

# The types stand in the signatures' annotations already; the description is where a reader looks for them.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# A build must not need the network, so there are no inventories of other projects to resolve their names
# against. Names from outside are let through here; a name of ours that leads nowhere remains an error.
_elsewhere = (
    "trio|outcome|hypothesis|pytest"
    "|asyncio|builtins|collections|contextlib|dataclasses|datetime|enum|inspect|logging"
    "|os|pathlib|signal|socket|ssl|subprocess|types|typing|typing_extensions"
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({_elsewhere})(\..+)?"),
    # Builtins and names that annotations use bare: classes such as ValueError, and type variables.
    (r"py:(class|exc|obj)", r"[A-Za-z]+(Error|Exception|ExceptionGroup|Interrupt|Warning|Exit)"),
    (r"py:(class|data|obj)", r"(bool|bytes|dict|float|frozenset|int|list|None|object|set|str|tuple|type)"),
    (r"py:class", r"timedelta|tzinfo"),
    (r"py:(class|obj)", r"(optional|callable|iterable|[A-Z][A-Za-z]*T(_co|_contra)?|[A-Z]|_[A-Z]\w*)"),
    (r"py:class", r"trioservice\.config\.parameters\.T"),  # of an overload, it comes with its module
]
# The name of a type, not of a class: the page says what it stands for.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        "ASGIApplication",
        "DatagramHandler",
        "DatagramProtocolFactory",
        "HTTPHandler",
        "Interface",
        "Path",
        "ProtocolFactory",
        "ProxyHeaders",
        "SSLContext",
        "StrPath",
        "StreamHandler",
        "WSGIApplication",
        "system.Epoll",
    )
]
