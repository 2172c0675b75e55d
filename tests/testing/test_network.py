"""A simulated network: our servers and clients, and plain trio, in good weather and in bad."""

from __future__ import annotations

import errno
import socket
from functools import partial
from pathlib import Path

import pytest
import trio
from certificates import certificate, trusting
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice import (
    MulticastServer,
    SSLClient,
    SSLServer,
    TCPClient,
    TCPServer,
    UDPClient,
    UDPServer,
    UNIXClient,
    UNIXDatagramClient,
    UNIXDatagramServer,
    UNIXServer,
)
from trioservice.errors import CannotConnectError, CannotListenError
from trioservice.net.addresses import UNIXPeer
from trioservice.net.events import AcceptDelayed
from trioservice.retry import Retry
from trioservice.testing import NotSimulatedError, SimNetwork

from .support import Echo, ask, echo, live, running, take

TWO = ("shop", "bank")
LANES = {"handler": {"handler": echo}, "protocol": {"protocol": Echo}}


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> dict:
    """How a server is told what to do: by a handler, or by a protocol."""
    return LANES[request.param]


# ---- who runs over it, unmodified ------------------------------------------------------------


async def test_a_tcp_server_serves_a_client_on_another_host(lane, autojump_clock) -> None:
    with SimNetwork(hosts=TWO, latency=(0.001, 0.02)) as network:
        async with running(network, "bank", TCPServer(80, **lane)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    assert await ask(client, b"how much?") == b"how much?"
                    assert client.socket.getpeername() == ("10.0.0.3", 80)
        assert network.open_sockets == []


async def test_many_clients_at_once_are_served_by_a_poll(lane, autojump_clock) -> None:
    async def one(number: int) -> None:
        async with await trio.open_tcp_stream("bank", 80) as client:
            for _ in range(5):
                answers.append(await ask(client, b"client %d" % number))

    answers: list[bytes] = []
    with SimNetwork(hosts=TWO, latency=(0.001, 0.02), segment=3) as network:
        async with running(network, "bank", TCPServer(80, **lane)):
            with network.on("shop"):
                async with trio.open_nursery() as nursery:
                    for number in range(40):
                        nursery.start_soon(one, number)
    assert sorted(answers) == sorted(5 * [b"client %d" % number for number in range(40)])


async def test_a_unix_server_knows_its_client_and_makes_no_file(autojump_clock, tmp_path: Path) -> None:
    async def who(stream) -> None:
        peers.append(stream.peer)
        await echo(stream)

    async def talk(stream) -> None:
        answers.append(await ask(stream, b"hello"))

    peers: list[UNIXPeer] = []
    answers: list[bytes] = []
    path = str(tmp_path / "nowhere" / "bank.sock")
    with SimNetwork() as network:
        client = UNIXClient(path, talk, retry=None)
        async with running(network, "localhost", UNIXServer(path, who), client):
            await client.wait_stopped()
        assert network.open_sockets == []
    assert (peers, answers) == ([UNIXPeer("", 1000, 1000, 1000)], [b"hello"])
    assert not (tmp_path / "nowhere").exists()


async def test_tls_is_spoken_over_it(autojump_clock) -> None:
    async def talk(stream) -> None:
        answers.append(await ask(stream, b"a secret"))

    answers: list[bytes] = []
    context = server_context_of("bank")
    with SimNetwork(hosts=TWO, latency=0.01, segment=100) as network:
        async with running(network, "bank", SSLServer(443, echo, context)):
            client = SSLClient("bank", 443, talk, trusting(), retry=None)
            async with running(network, "shop", client):
                await client.wait_stopped()
    assert answers == [b"a secret"]


def server_context_of(name: str):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(name).configure_cert(context)
    return context


@pytest.mark.parametrize("host", [None, "bank"], ids=["all interfaces", "one"])
async def test_datagrams_are_answered_from_where_they_were_sent_to(host, autojump_clock) -> None:
    async def answer(data, peer, server) -> None:
        await server.send(data.upper(), peer)

    async def hear(data, peer, client) -> None:
        heard.append((data, peer))
        done.set()

    heard: list = []
    done = trio.Event()
    with SimNetwork(hosts=TWO, latency=0.01) as network:
        client = UDPClient("bank", 53, hear)
        async with (
            running(network, "bank", UDPServer(53, answer, host=host)),
            running(network, "shop", client),
        ):
            await client.send(b"where?")
            await done.wait()
    assert heard == [(b"WHERE?", ("10.0.0.3", 53))]


async def test_datagrams_go_between_unix_sockets(autojump_clock) -> None:
    async def answer(data, peer, server) -> None:
        await server.send(data.upper(), peer)

    async def hear(data, peer, client) -> None:
        heard.append(data)
        if len(heard) == 3:
            done.set()

    heard: list[bytes] = []
    done = trio.Event()
    with SimNetwork() as network:
        client = UNIXDatagramClient("/run/bank.sock", hear)
        async with running(network, "localhost", UNIXDatagramServer("/run/bank.sock", answer), client):
            for word in (b"one", b"two", b"three"):
                await client.send(word)
            await done.wait()
    assert heard == [b"ONE", b"TWO", b"THREE"]


async def test_plain_trio_runs_over_it(autojump_clock) -> None:
    with SimNetwork(hosts=TWO, latency=0.01) as network:
        async with trio.open_nursery() as nursery:
            with network.on("bank"):
                (listener,) = await nursery.start(trio.serve_tcp, echo, 0)
            with network.on("shop"):
                port = listener.socket.getsockname()[1]
                async with await trio.open_tcp_stream("bank", port) as client:
                    assert await ask(client, b"hello") == b"hello"
                    await client.send_eof()
                    assert await client.receive_some() == b""
            nursery.cancel_scope.cancel()


async def test_plain_trio_reaches_our_unix_server(autojump_clock) -> None:
    with SimNetwork() as network:
        async with (
            running(network, "localhost", UNIXServer("@bank", echo)),
            await trio.open_unix_socket("\0bank") as client,
        ):
            assert await ask(client, b"hello") == b"hello"


async def test_plain_trio_sends_datagrams(autojump_clock) -> None:
    with SimNetwork(latency=0.01):
        one, other = (trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(2))
        with one, other:
            await one.bind(("localhost", 5000))
            await other.sendto(b"hello", ("localhost", 5000))
            assert await one.recvfrom(100) == (b"hello", ("127.0.0.1", 49152))


async def test_a_server_that_starts_again_keeps_its_port_and_refuses_meanwhile(autojump_clock) -> None:
    with SimNetwork(latency=0.01) as network:
        server = TCPServer(0, echo)
        async with running(network, "localhost", server):
            (address,) = server.addresses
            await server.stop()
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream(*address)
            await server.start()
            assert server.addresses == (address,)
            async with await trio.open_tcp_stream(*address) as client:
                assert await ask(client, b"again") == b"again"


async def test_a_port_belongs_to_one(autojump_clock) -> None:
    with SimNetwork() as network:
        async with running(network, "localhost", TCPServer(80, echo)):
            with pytest.RaisesGroup(CannotListenError, flatten_subgroups=True):
                async with running(network, "localhost", TCPServer(80, echo)):
                    pass


# ---- what happens to them --------------------------------------------------------------------


async def test_what_is_sent_into_a_partition_arrives_when_it_is_healed(lane, autojump_clock) -> None:
    with SimNetwork(hosts=TWO, latency=0.01) as network:
        async with running(network, "bank", TCPServer(80, **lane)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    network.partition("shop", "bank")
                    await client.send_all(b"one")
                    await client.send_all(b"two")
                    with trio.move_on_after(60) as scope:
                        await client.receive_some()
                    assert scope.cancelled_caught
                    network.heal("shop", "bank")
                    assert await take(client, 6) == b"onetwo"


async def test_a_partition_can_be_of_one_way(autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        async with running(network, "bank", server := TCPServer(80, echo)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    network.partition("bank", "shop", one_way=True)
                    await client.send_all(b"heard")
                    with trio.move_on_after(1) as scope:
                        await client.receive_some()
                    assert scope.cancelled_caught
                    assert server.statistics().bytes_received == 5


async def test_a_partition_that_lasts_breaks_connections_as_linux_does(autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        async with running(network, "bank", TCPServer(80, echo)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    network.partition("shop", "bank")
                    await client.send_all(b"hello?")
                    with pytest.raises(trio.BrokenResourceError) as caught:
                        await client.receive_some()
                    assert caught.value.__cause__.errno == errno.ETIMEDOUT
                    assert trio.current_time() == pytest.approx(924.6)


async def test_nobody_connects_across_a_partition(autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        async with running(network, "bank", TCPServer(80, echo)):
            network.isolate("bank")
            with network.on("shop"), pytest.raises(OSError, match="all attempts"):
                await trio.open_tcp_stream("bank", 80)
            assert trio.current_time() == pytest.approx(127)
            network.rejoin("bank")
            with network.on("shop"):
                await (await trio.open_tcp_stream("bank", 80)).aclose()


async def test_a_client_connects_again_after_a_reset(autojump_clock) -> None:
    async def talk(stream) -> None:
        talks.append(trio.current_time())
        await echo(stream)

    talks: list[float] = []
    with SimNetwork(hosts=TWO, latency=0.01) as network:
        client = TCPClient("bank", 80, talk, retry=Retry(delay=5.0, jitter=0.0))
        async with running(network, "bank", TCPServer(80, echo)), running(network, "shop", client):
            await trio.sleep(1)
            assert network.reset("shop", "bank") == 2
            await trio.sleep(10)
            assert (len(talks), client.statistics().failed) == (2, 1)


async def test_of_a_half_open_connection_one_end_knows_nothing_until_it_speaks(autojump_clock) -> None:
    with SimNetwork(hosts=TWO, latency=0.01) as network:
        async with running(network, "bank", server := TCPServer(80, echo)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    await ask(client, b"hello")
                    assert network.half_open("bank") == 1
                    with trio.move_on_after(3600) as silence:
                        await client.receive_some()
                    assert silence.cancelled_caught
                    assert server.statistics().failed == 1
                    await client.send_all(b"still there?")
                    with pytest.raises(trio.BrokenResourceError):
                        await client.receive_some()


async def test_a_slow_peer_makes_the_sender_wait(lane, autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        network.host("shop").buffer = 1000
        network.host("bank").buffer = 1000
        async with running(network, "bank", TCPServer(80, **lane)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client, trio.open_nursery() as nursery:
                    nursery.start_soon(client.send_all, bytes(500_000))
                    await trio.sleep(60)
                    assert len(nursery.child_tasks) == 1
                    assert len(await take(client, 500_000)) == 500_000


async def test_where_nobody_listens_is_refused_after_a_round_trip(autojump_clock) -> None:
    with SimNetwork(hosts=TWO, latency=0.1) as network:
        client = TCPClient("bank", 80, echo, retry=None)
        with pytest.RaisesGroup(
            pytest.RaisesExc(CannotConnectError, match="nobody listens there"), flatten_subgroups=True
        ):
            async with running(network, "shop", client):
                await client.wait_stopped()
        assert trio.current_time() == pytest.approx(0.2)


async def test_without_descriptors_a_server_waits_and_goes_on(autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        async with running(network, "bank", TCPServer(80, echo)) as (_, events):
            network.host("bank").descriptors = 1
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    await client.send_all(b"hello")
                    await trio.sleep(1)
                    assert errno.EMFILE in [
                        event.error.errno for event in events if isinstance(event, AcceptDelayed)
                    ]
                    network.host("bank").descriptors = None
                    assert await take(client, 5) == b"hello"


async def test_of_datagrams_some_are_lost_doubled_and_overtaken(autojump_clock) -> None:
    async def hear(data, peer, server) -> None:
        heard.append(int(data))

    heard: list[int] = []
    with SimNetwork(hosts=TWO, seed=3, latency=0.01, loss=0.2, duplicate=0.2, reorder=0.2) as network:
        client = UDPClient("bank", 53)
        async with running(network, "bank", UDPServer(53, hear)), running(network, "shop", client):
            for number in range(200):
                await client.send(b"%d" % number)
                await trio.sleep(0.001)
            await trio.sleep(1)
    assert 100 < len(set(heard)) < 200
    assert len(heard) > len(set(heard))
    assert heard != sorted(heard)


async def test_a_stream_loses_time_and_no_bytes(autojump_clock) -> None:
    with SimNetwork(hosts=TWO, loss=0.5) as network:
        async with running(network, "bank", TCPServer(80, echo)):
            with network.on("shop"):
                async with await trio.open_tcp_stream("bank", 80) as client:
                    for number in range(20):
                        said = b"message %d" % number
                        assert await ask(client, said) == said
        assert any("sent again" in line for line in network.log)
        assert trio.current_time() > 1


async def test_a_stream_comes_in_pieces_if_that_is_asked_for(autojump_clock) -> None:
    with SimNetwork() as network:
        network.link_between("localhost", "localhost", segment=2, latency=(0.1, 0.2))
        async with (
            running(network, "localhost", TCPServer(80, echo)),
            await trio.open_tcp_stream("localhost", 80) as client,
        ):
            await client.send_all(b"12345")
            assert await client.receive_some() == b"12"


async def test_a_full_queue_is_knocked_at_again(autojump_clock) -> None:
    with SimNetwork() as network:
        sock = trio.socket.socket()
        await sock.bind(("127.0.0.1", 80))
        sock.listen(0)
        first = await trio.open_tcp_stream("127.0.0.1", 80)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.open_tcp_stream, "127.0.0.1", 80)
            await trio.sleep(0.5)
            await sock.accept()
        assert trio.current_time() == 1
        await first.aclose()
    assert any("queue full" in line for line in network.log)


# ---- names, numbers, and what is not there ---------------------------------------------------


async def test_a_name_that_nobody_has_is_not_found(autojump_clock) -> None:
    with SimNetwork(hosts=["shop"]), pytest.raises(socket.gaierror):
        await trio.open_tcp_stream("bank", 80)


async def test_an_address_that_nobody_has_is_not_reached(autojump_clock) -> None:
    with SimNetwork(), pytest.raises(OSError, match="all attempts") as caught:
        await trio.open_tcp_stream("192.0.2.1", 80)
    assert caught.value.__cause__.exceptions[0].errno == errno.ENETUNREACH


async def test_localhost_is_another_on_each_host(autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        async with running(network, "bank", TCPServer(80, echo, host="localhost")):
            for host, name in (("bank", "bank"), ("shop", "localhost"), ("shop", "bank")):
                with network.on(host), pytest.raises(OSError, match="all attempts"):
                    await trio.open_tcp_stream(name, 80)
            with network.on("bank"):
                await (await trio.open_tcp_stream("localhost", 80)).aclose()


async def test_hosts_have_names_that_are_found_both_ways(autojump_clock) -> None:
    with SimNetwork(hosts=TWO) as network:
        assert network.host("bank").address == "10.0.0.3"
        assert await trio.socket.getnameinfo(("10.0.0.3", 80), 0) == ("bank", "80")
        with pytest.raises(ValueError, match="no host 'bakn', only localhost, shop, bank"):
            network.partition("shop", "bakn")
        with pytest.raises(ValueError, match="a host 'bank' already"):
            network.add_host("bank")


async def test_ports_are_given_in_order(autojump_clock) -> None:
    with SimNetwork():
        socks = [trio.socket.socket() for _ in range(3)]
        for sock in socks:
            await sock.bind(("127.0.0.1", 0))
        assert [sock.getsockname()[1] for sock in socks] == [49152, 49153, 49154]
        for sock in socks:
            sock.close()


async def test_what_is_not_simulated_says_so(autojump_clock) -> None:
    async def hear(data, peer, server) -> None: ...

    with SimNetwork() as network:
        with pytest.raises(OSError, match="no IPv6") as caught:
            trio.socket.socket(trio.socket.AF_INET6)
        assert caught.value.errno == errno.EAFNOSUPPORT
        with pytest.raises(NotSimulatedError, match="TCP, UDP and UNIX"):
            trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_RAW)
        with pytest.RaisesGroup(
            pytest.RaisesExc(NotSimulatedError, match="multicast"), flatten_subgroups=True
        ):
            async with running(network, "localhost", MulticastServer(5000, hear, groups=["239.1.1.1"])):
                pass
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
            with pytest.raises(NotSimulatedError, match="broadcast"):
                await sock.sendto(b"", ("255.255.255.255", 80))
            with pytest.raises(NotSimulatedError, match="descriptor"):
                sock.detach()


async def test_conditions_that_cannot_be_are_refused() -> None:
    for wrong in ({"latency": -1}, {"latency": (2, 1)}, {"loss": 1}, {"duplicate": 1.5}, {"segment": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SimNetwork(**wrong)


# ---- what is outside -------------------------------------------------------------------------


async def test_real_sockets_are_real_before_after_and_elsewhere() -> None:
    def elsewhere() -> bool:
        async def is_real() -> bool:
            with trio.socket.socket() as sock:
                return sock.fileno() < 1 << 30

        return trio.run(is_real)

    before = trio.socket.socket()
    with SimNetwork() as network, trio.socket.socket() as simulated:
        assert simulated.fileno() >= 1 << 30
        with socket.socket() as sock:
            assert sock.fileno() < 1 << 30
        assert await trio.to_thread.run_sync(elsewhere)
        await before.bind(("127.0.0.1", 0))
        before.listen()
    with before, trio.socket.socket() as after:
        assert after.fileno() < 1 << 30
        await after.connect(before.getsockname())
    assert network.log == []


async def test_a_server_that_was_real_before_stays_so(lane) -> None:
    server = TCPServer(0, host="127.0.0.1", **lane)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.main)
        client = await trio.open_tcp_stream(*server.addresses[0])
        with SimNetwork() as network:
            assert await ask(client, b"hello") == b"hello"
        await client.aclose()
        assert network.log == []
        await server.stop()


async def test_a_failure_tells_the_seed(autojump_clock) -> None:
    with pytest.raises(AssertionError) as caught, SimNetwork(seed=7):
        raise AssertionError
    assert caught.value.__notes__ == ["within SimNetwork(seed=7)"]


def test_a_message_costs_its_two_ends_a_few_steps() -> None:
    """What a life costs is told by steps; its seconds are the machine's, and told by the benchmarks."""

    class Steps(trio.abc.Instrument):
        taken = 0

        def before_task_step(self, task: object) -> None:
            self.taken += 1

    async def main() -> None:
        with SimNetwork(latency=(0.001, 0.02)) as network:
            async with (
                running(network, "localhost", TCPServer(80, echo)),
                await trio.open_tcp_stream("localhost", 80) as client,
            ):
                trio.lowlevel.add_instrument(steps)
                for _ in range(1000):
                    await ask(client, b"hello")
                trio.lowlevel.remove_instrument(steps)

    steps = Steps()
    live(main)
    assert steps.taken <= 1000 * 8


# ---- the same each time ----------------------------------------------------------------------


async def a_life(seed: int, conditions: dict, faults: list[tuple[str, float]]) -> list[str]:
    """Clients of a bank, in bad weather; what the network has seen of them."""

    async def talk(stream) -> None:
        for number in range(5):
            await ask(stream, b"message %d" % number)
            await trio.sleep(1)

    with SimNetwork(hosts=TWO, seed=seed, **conditions) as network:
        clients = [TCPClient("bank", 80, talk) for _ in range(3)]
        async with running(network, "bank", TCPServer(80, echo)), running(network, "shop", *clients):
            for fault, seconds in faults:
                getattr(network, fault)("shop", "bank")
                await trio.sleep(seconds)
    return network.log


FAULTS = st.tuples(st.sampled_from(["partition", "heal", "reset"]), st.floats(0, 20))
CONDITIONS = st.fixed_dictionaries(
    {"latency": st.just((0.001, 0.5)), "loss": st.floats(0, 0.5), "segment": st.integers(1, 20)}
)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), CONDITIONS, st.lists(FAULTS, max_size=5))
def test_the_same_seed_is_the_same_life(seed: int, conditions: dict, faults: list) -> None:
    first, second = (live(partial(a_life, seed, conditions, faults), seed) for _ in range(2))
    assert "\n".join(first).encode() == "\n".join(second).encode()


def test_another_seed_is_another_life() -> None:
    faults = [("partition", 1.0), ("heal", 5.0)]
    lives = {"\n".join(live(partial(a_life, seed, {"latency": (0.1, 0.2)}, faults))) for seed in range(5)}
    assert len(lives) == 5


def test_what_others_say_does_not_change_a_link() -> None:
    networks = [SimNetwork(hosts=TWO, seed=1, latency=(0, 1)), SimNetwork(hosts=TWO, seed=1, latency=(0, 1))]
    for network in networks:
        network.link("shop", "bank")
    networks[0].link("bank", "shop").crossing()
    assert len({network.link("shop", "bank").crossing() for network in networks}) == 1


async def test_what_is_due_together_comes_in_order(autojump_clock) -> None:
    called: list[int] = []
    with SimNetwork() as network:
        for number in range(3):
            network.at(1.0, partial(called.append, number))
        await trio.sleep(2)
    assert called == [0, 1, 2]
