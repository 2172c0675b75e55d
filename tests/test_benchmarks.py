"""The arithmetic of the benchmarks: a wrong ratio flatters us, or hides a loss, and nobody sees it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from benchmarks.__main__ import WORKLOADS
from benchmarks.building import load_program
from benchmarks.contestants import FAST_LANE, STREAM_LANE, TWISTED
from benchmarks.measuring import (
    BUSY,
    COST,
    RATE,
    Metric,
    Result,
    Slice,
    bound_inodes,
    owns_listener,
    processor_time,
    reason_in,
)
from benchmarks.report import bar, quartiles, tables
from benchmarks.targets import TARGETS, Target, verdicts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read Linux's accounts")

TITLE = "tcp echo 50 x 64 B"
ROWS = [
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0",
    "   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0",
    "   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0",
]


def measured(rates: dict[str, float], costs: dict[str, float], busy: float = 99.0) -> Result:
    """A workload, with two rounds alike."""
    rate, cost, use = Metric(RATE, more_is_better=True), Metric(COST), Metric(BUSY, decides=False)
    for metric, figures in ((rate, rates), (cost, costs), (use, dict.fromkeys(rates, busy))):
        for name, figure in figures.items():
            metric.add(name, figure)
            metric.add(name, figure)
    return Result(TITLE, "", (STREAM_LANE, FAST_LANE), [rate, cost, use])


def verdict(result: Result, ours: str, peer: str) -> str:
    wanted = next(t.wanted for t in TARGETS if (t.title, t.ours, t.peer) == (TITLE, ours, peer))
    lane = ours.removeprefix("trioservice, ")
    return next(line for line in verdicts({TITLE: result}) if lane in line and wanted in line)


def test_a_slice_tells_rate_cost_and_how_busy_the_server_was() -> None:
    done = Slice(operations=1000, errors=0, lost=0, seconds=0.5, server=0.4, load=0.1)
    assert done.rate == pytest.approx(2000)
    assert done.cost == pytest.approx(400)  # microseconds
    assert done.busy == pytest.approx(80)  # percent


def test_a_ratio_above_one_means_that_ours_is_better_for_rates_and_for_costs() -> None:
    rate = Metric(RATE, more_is_better=True, figures={"ours": [200.0], "peer": [100.0]})
    cost = Metric(COST, figures={"ours": [5.0], "peer": [10.0]})
    assert rate.ratio("ours", "peer") == pytest.approx(2)
    assert cost.ratio("ours", "peer") == pytest.approx(2)


def test_a_ratio_compares_within_each_round() -> None:
    # The machine halves its speed each time; ours is twice as fast throughout.
    rate = Metric(
        RATE, more_is_better=True, figures={"ours": [800.0, 400.0, 200.0], "peer": [400.0, 200.0, 100.0]}
    )
    rate.figures["peer"][1] = 1.0
    assert rate.ratio("ours", "peer") == pytest.approx(2)


def test_figures_of_unequal_rounds_are_not_compared() -> None:
    rate = Metric(RATE, more_is_better=True, figures={"ours": [1.0, 2.0], "peer": [1.0]})
    with pytest.raises(ValueError, match="zip"):
        rate.ratio("ours", "peer")


def test_whoever_fails_in_the_middle_is_left_out_whole() -> None:
    result = measured({STREAM_LANE: 2.0, TWISTED: 1.0}, {STREAM_LANE: 1.0, TWISTED: 2.0})
    result.leave_out(TWISTED, "it died")
    assert all(TWISTED not in metric.figures for metric in result.metrics)
    assert any("NOT MEASURED" in line and "it died" in line for line in tables(result))


def test_a_target_that_is_reached_in_rate_and_cpu_is_kept() -> None:
    result = measured({STREAM_LANE: 160.0, TWISTED: 100.0}, {STREAM_LANE: 10.0, TWISTED: 16.0})
    assert verdict(result, STREAM_LANE, TWISTED).endswith("kept")


def test_a_target_that_is_missed_is_below() -> None:
    result = measured({STREAM_LANE: 150.0, TWISTED: 100.0}, {STREAM_LANE: 10.0, TWISTED: 15.0})
    assert verdict(result, STREAM_LANE, TWISTED).endswith("BELOW")


def test_a_busy_servers_rate_may_not_hide_behind_its_cpu() -> None:
    result = measured({STREAM_LANE: 150.0, TWISTED: 100.0}, {STREAM_LANE: 10.0, TWISTED: 17.0})
    assert verdict(result, STREAM_LANE, TWISTED).endswith("BELOW by rate")


def test_cpu_decides_where_the_server_was_not_the_limit() -> None:
    result = measured({STREAM_LANE: 150.0, TWISTED: 100.0}, {STREAM_LANE: 10.0, TWISTED: 17.0}, busy=60.0)
    assert verdict(result, STREAM_LANE, TWISTED).endswith("kept by CPU, which decides")


def test_a_rate_makes_no_amends_for_cpu() -> None:
    result = measured({STREAM_LANE: 200.0, TWISTED: 100.0}, {STREAM_LANE: 10.0, TWISTED: 15.0}, busy=60.0)
    assert verdict(result, STREAM_LANE, TWISTED).endswith("BELOW by CPU")


def test_a_contestant_that_did_not_start_is_told_in_the_bar() -> None:
    result = measured({STREAM_LANE: 160.0, TWISTED: 100.0}, {STREAM_LANE: 10.0, TWISTED: 16.0})
    result.leave_out(FAST_LANE, "it is not built")
    assert verdict(result, FAST_LANE, TWISTED).endswith("not measured")


def test_a_cost_of_at_most_so_many_times_the_peers_turns_the_ratio_round() -> None:
    metric = Metric("ms", figures={"ours": [60.0], "peer": [100.0]})
    target = Target("launch", "ours", "peer", most=0.6, unit="ms")
    assert target.figure(metric) == pytest.approx(0.6)
    assert target.keeps(0.6)
    assert not target.keeps(0.61)


def test_every_target_names_a_workload_that_exists() -> None:
    titles = {workload.title for workload in WORKLOADS}
    assert {target.title for target in TARGETS} <= titles


def test_quartiles_hold_the_middle_half() -> None:
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0)


@pytest.mark.parametrize(("share", "drawn"), [(0.0, ""), (0.5, "██"), (0.53125, "██▏"), (1.0, "████")])
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share, width=4) == drawn


def test_a_listener_is_told_from_its_connections_and_from_its_neighbours() -> None:
    assert bound_inodes(ROWS, 0x1F90, "0A") == {"4711"}


def test_a_listener_belongs_to_the_process_that_opened_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert owns_listener(os.getpid(), "tcp", port)
        assert not owns_listener(os.getppid(), "tcp", port)


def test_processor_time_of_another_process_is_read_as_it_reads_its_own() -> None:
    before = time.process_time()
    told = processor_time(os.getpid())
    assert before <= told <= time.process_time()


def test_the_reason_of_a_failure_is_the_error_and_not_the_hint_below_it() -> None:
    text = "Traceback ...\n  | TypeError: no handler\nhint: the traceback above is that of your own code\n"
    assert reason_in(text) == "TypeError: no handler"
    assert reason_in("address in use\n") == "address in use"
    assert reason_in("") == ""


# ---- the load, against servers in a thread of this process that do what they should, or nearly


@pytest.fixture
def needs_compiler() -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")


def ask(address: str, mode: str, *options: str) -> subprocess.CompletedProcess[str]:
    """One slice of the shortest kind: with 0 seconds, one request on each connection."""
    seconds = "0.05" if mode == "visit" else "0"
    command = [str(load_program(tls=False)), mode, address, str(os.getpid()), *options]
    return subprocess.run(command, input=f"{seconds}\n", capture_output=True, text=True, timeout=60)


def counted(done: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    told = json.loads(done.stdout.splitlines()[-1])
    return told["operations"], told["errors"], told["lost"]


def serve_streams(answer: Callable[[bytes], bytes], listener: socket.socket) -> None:
    """One after the other: what comes goes back, answered."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while data := connection.recv(65536):
                connection.sendall(answer(data))


def asked_stream(answer: Callable[[bytes], bytes], mode: str) -> tuple[int, int, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve_streams, args=(answer, listener), daemon=True).start()
        try:
            return counted(ask(f"tcp:127.0.0.1:{listener.getsockname()[1]}", mode, "connections=1"))
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def asked_datagrams(answer: Callable[[bytes], bytes | None]) -> tuple[int, int, int]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)

        def serve() -> None:
            for _ in range(4):
                data, peer = sock.recvfrom(65536)
                answered = answer(data)
                if answered is not None:
                    sock.sendto(answered, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return counted(ask(f"udp:127.0.0.1:{sock.getsockname()[1]}", "datagram", "depth=4"))
        finally:
            thread.join()


def spoiled(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.real
@pytest.mark.usefixtures("needs_compiler")
def test_the_load_counts_an_echo_that_is_right() -> None:
    assert asked_stream(lambda data: data, "exchange") == (1, 0, 0)


@pytest.mark.real
@pytest.mark.usefixtures("needs_compiler")
@pytest.mark.parametrize("mode", ["exchange", "visit"])
def test_the_load_notices_one_wrong_bit(mode: str) -> None:
    operations, errors, _ = asked_stream(spoiled, mode)
    assert operations == 0
    assert errors >= 1


@pytest.mark.real
@pytest.mark.usefixtures("needs_compiler")
def test_the_load_counts_datagrams_that_are_right_wrong_and_lost() -> None:
    assert asked_datagrams(lambda data: data) == (4, 0, 0)
    operations, errors, _ = asked_datagrams(spoiled)
    assert (operations, errors) == (0, 4)
    third = iter([False, False, True, False])
    assert asked_datagrams(lambda data: None if next(third) else data) == (3, 0, 1)
