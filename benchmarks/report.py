"""Tables with bars, since people would rather look than read."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .building import HERE
from .measuring import Metric, Result, cores

WIDTH = 20  # of a bar
PACKAGES = (
    "trioservice",
    "trio",
    "twisted",
    "uvloop",
    "aiomisc",
    "pyopenssl",
    "uvicorn",
    "hypercorn",
    "httptools",
)
RESULTS = HERE / "RESULTS.md"
RESULTS_INTRO = """\
# Side by side with our peers

Written by the command below; `make bench` measures anew, `make bench-quick` a part of it in less than
two minutes, and `python -m benchmarks --help` tells how to ask for any other part.

* All servers of a workload with traffic run at once on one core, each in a fresh process on its own
  port, and the load generator on another; they are asked in short slices, in an order that chance
  decides anew for every round. Launches, exits, memory and services are measured alone, in turn.
* Figures are medians over the rounds, with quartiles. A column named after one of our lanes says how
  many times *better* that lane is than the row: the median of the ratios within each round.
* Processor time is the kernel's account of the server's process. It is the figure to trust: a rate
  also hangs on the load generator, on the way there and back, and on whoever else uses the machine.
* Every byte of every echo is checked. Errors and losses, if any, are noted below the table.
* What the servers do is in [servers/](servers), one small file each, the load in
  [load/load.c](load/load.c), the programs that are launched and stopped in [programs/](programs), and
  what the kinds of services promise, and what not, at the top of [services.py](services.py).
"""


def tables(result: Result) -> Iterator[str]:
    """All that is known of one workload, line by line."""
    yield ""
    yield f"== {result.title}"
    if result.what:
        yield f"   {result.what}"
    for metric in result.metrics:
        if metric.figures:
            yield from _table(metric, result.ours) if metric.decides else _line(metric)
    for name, reason in result.absent.items():
        yield f"   NOT MEASURED  {name}: {reason}"
    for note in result.notes:
        yield f"   NOTE  {note}"


def _table(metric: Metric, ours: tuple[str, ...]) -> Iterator[str]:
    lanes = [name for name in ours if name in metric.figures]
    headings = "".join(f"{name.removeprefix('trioservice, '):>12}" for name in lanes)
    yield ""
    yield f"   {metric.unit} ({'more' if metric.more_is_better else 'less'} is better)"
    yield f"   {'':<25}{'median':>9}{'25 %':>9}{'75 %':>9}{headings}"
    medians = {name: metric.median(name) for name in metric.figures}
    longest = max(medians.values())
    for name, figures in metric.figures.items():
        shown = "".join(f"{number(figure):>9}" for figure in (medians[name], *quartiles(figures)))
        ratios = "".join(f"{_times(metric, lane, name):>12}" for lane in lanes)
        yield f"   {name:<25}{shown}{ratios}  {bar(medians[name] / longest)}".rstrip()


def _times(metric: Metric, lane: str, peer: str) -> str:
    return "" if lane == peer else f"{metric.ratio(lane, peer):.2f} x"


def _line(metric: Metric) -> Iterator[str]:
    shown = [f"{name} {metric.median(name):.0f}" for name in metric.figures]
    yield ""
    for start in range(0, len(shown), 5):
        heading = f"{metric.unit}:" if not start else ""
        yield f"   {heading:<20}{'; '.join(shown[start : start + 5])}"


def quartiles(figures: list[float]) -> tuple[float, float]:
    """The two between which the middle half lies."""
    if len(figures) < 2:
        return figures[0], figures[0]
    low, _, high = statistics.quantiles(figures, n=4, method="inclusive")
    return low, high


def number(figure: float) -> str:
    """As many digits as say something."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.1f}" if figure >= 100 else f"{figure:.2f}"


def bar(share: float, width: int = WIDTH) -> str:
    """A part of *width* characters, to an eighth of one."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].rstrip()


# ---- where it was measured


def machine() -> Iterator[str]:
    """What one must know to measure it again."""
    servers, load = cores()
    placed = f"servers on core {servers}, load on core {load}"
    if servers == load:
        placed = "ONE CORE for servers and load: rates mean nothing, processor time means less than it should"
    yield f"{_processor()}, {os.cpu_count()} processors ({placed})"
    yield f"{platform.system()} {platform.release()} {platform.machine()}; Python {platform.python_version()}"
    yield _versions()
    yield f"load average before it began: {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor")


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found) + _commit()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty=, changed"]
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" (at {done.stdout.strip()})"


def write(command: str, lines: list[str]) -> None:
    """Keep what was printed."""
    text = "\n".join(lines)
    RESULTS.write_text(f"{RESULTS_INTRO}\n```console\n$ {command}\n{text}\n```\n", encoding="utf-8")
