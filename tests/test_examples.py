"""Every example starts, does what it says, and stops."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import Process, foreign, running, trioservice, until

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parent.parent / "examples"


@contextmanager
def serving(
    example: str, port: int, *options: str, cwd: Path | None = None, run: Sequence[str] = ()
) -> Iterator[Process]:
    """The example, running; its port is its own, so one test at a time, and none if it is taken."""
    with open(Path(tempfile.gettempdir(), "trioservice-examples.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError as error:
                pytest.skip(f"{example} wants port {port}, but somebody else has it: {error}")
        with running([*(run or trioservice("run")), str(EXAMPLES / example), *options], cwd=cwd) as app:
            yield app


def ask(port: int, question: bytes) -> bytes:
    """What a client gets for *question* that says it once and ends its half."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            return answer.read()


def echo(name: str) -> None:
    with serving(name, 7001) as app:
        app.says(r"echo/echoService: listening on 127\.0\.0\.1:7001")
        app.says(r"echo: running")
        assert ask(7001, b"hello") == b"hello"
        assert app.stops() == -15
        assert "Traceback" not in app.err


def front_and_back(name: str) -> None:
    with serving(name, 7002) as app:
        app.says(r"shop: running")
        for earlier, later in (("shop/back/stock", "shop/back"), ("shop/back", "shop/front")):
            assert app.err.index(f"{earlier}: running") < app.err.index(f"{later}: running")  # L5
        assert app.err.index("shop/back: running") < app.err.index("shop/front: listening")  # L5
        assert ask(7002, b"apples\n") == b"3 apples\n"
        assert ask(7002, b"plums\n") == b"0 plums\n"
        assert app.stops() == -15
        stopped = re.findall(r" (shop\S*): stopped", app.err)
        assert stopped == ["shop/front", "shop/back/restock", "shop/back/stock", "shop/back", "shop"]  # L6
        assert "Traceback" not in app.err


def timer(name: str) -> None:
    with running(trioservice("run", EXAMPLES / name)) as app:
        app.says(r"kitchen: running")
        app.says(r"kitchen/taste: a spoonful", times=2)
        app.says(r"kitchen/look_outside: the call raised LookupError: it is dark", times=1)
        log = app.err
        assert log.index("kitchen: running") < log.index("more salt"), "a slow first call holds nobody up"
        assert log.index("more salt") < log.rindex("a spoonful"), "calls do not overlap"
        assert log.count("kitchen/tick: tick") >= 3
        assert app.stops() == -15
        assert app.err.count("more salt") == app.err.count("a spoonful"), "a stop waits for the call"  # L10


def tcp_client(name: str) -> None:
    with serving("01_echo.tac", 7001) as server, running(trioservice("run", EXAMPLES / name)) as app:
        app.says(r"greeter/client: connected to 127\.0\.0\.1:7001")
        app.says(r"the server says: hello 1")
        assert server.stops_at_once() == -15
        app.says(r"greeter/client: disconnected from 127\.0\.0\.1:7001")
        app.says(r"cannot connect to 127\.0\.0\.1:7001: Connection refused; .*trying again in \d\.\d s")
        with running(trioservice("run", EXAMPLES / "01_echo.tac")):
            app.says(r"greeter/client: connected to 127\.0\.0\.1:7001", times=2)
            app.says(r"the server says: hello 1", times=2)
            assert app.stops() == -15
            assert "Traceback" not in app.err


def unix_server(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with running(trioservice("run", EXAMPLES / name), cwd=Path(folder)) as app:
            app.says(r"greeting/greeter: listening on \S*greeter\.sock\n")
            path = Path(folder, "greeter.sock")
            assert path.stat().st_mode & 0o777 == 0o660
            socat = subprocess.Popen(
                [foreign("socat"), "-", f"UNIX-CONNECT:{path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            said, _ = socat.communicate(timeout=20)
            user = pwd.getpwuid(os.getuid()).pw_name
            assert said == f"hello {user}, process {socat.pid}\n".encode()
            assert app.stops() == -15
            assert "Traceback" not in app.err
        assert os.listdir(folder) == []


def ssl_server(name: str) -> None:
    foreign("openssl")  # from programs
    with serving(name, 7005) as app:
        app.says(r"safe: running")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it vouches for itself
        with (
            socket.create_connection(("127.0.0.1", 7005), timeout=20) as plain,
            context.wrap_socket(plain, suppress_ragged_eofs=False) as client,
            client.makefile("rb") as answer,
        ):
            client.sendall(b"hello\n")
            assert answer.readline() == b"hello\n"
            assert re.fullmatch(rb"We speak TLSv1\.\d, by \S+ with \d+ bits\.\n", answer.read())
        assert app.stops() == -15
        assert "Traceback" not in app.err


def told(command: list[str], data: bytes, **options: object) -> bytes:
    """What a foreign program prints when it is given *data*."""
    return subprocess.run(command, input=data, capture_output=True, timeout=20, **options).stdout  # type: ignore[call-overload]


def udp_server(name: str) -> None:
    nc = foreign("nc")
    with serving(name, 7006) as app:
        app.says(r"numbers/udp: listening on 127\.0\.0\.1:7006")
        assert told([nc, "-u", "-w1", "127.0.0.1", "7006"], b"hello") == b"1: hello"
        assert app.stops() == -15
        assert "Traceback" not in app.err


def udp_client(name: str) -> None:
    with serving(name, 7006) as app:
        app.says(r"time/client: the time is 12:00, as you ask in your question 2")
        app.says(r"time/ask: finished")
        assert app.stops() == -15
        assert "Traceback" not in app.err


def unix_datagram(name: str) -> None:
    # `serving` should hand on cwd= to `running`, as the file of the socket is made where the example is run.
    socat = foreign("socat")
    with tempfile.TemporaryDirectory() as folder, serving(name, 7008, cwd=Path(folder)) as app:
        app.says(r"counter/client: the counter says: 2 pears")
        command = [socat, "-t1", "-", f"UNIX-SENDTO:{folder}/counter.sock,bind=me.sock"]
        assert told(command, b"apples", cwd=folder) == b"2 apples"
        assert app.stops() == -15
        assert not list(Path(folder).glob("counter*"))
        assert "Traceback" not in app.err


def proxy(name: str) -> None:
    with serving(name, 7009) as app:
        app.says(r"proxy/back: cannot connect to 127\.0\.0\.1:7001")
        assert "proxy/front: running" not in app.err  # L5
        with running(trioservice("run", EXAMPLES / "01_echo.tac")) as back_end:
            app.says(r"proxy/front: listening on 127\.0\.0\.1:7009")
            assert app.err.index("proxy/back: running") < app.err.index("proxy/front: listening")  # L5
            assert ask(7009, b"hello\nyou\n") == b"hello\nyou\n"
            assert back_end.stops() == -15
        with socket.create_connection(("127.0.0.1", 7009), timeout=20) as client:
            client.sendall(b"are you there?\n")  # it waits for the back end to come again
            with running(trioservice("run", EXAMPLES / "01_echo.tac")):
                assert client.recv(100) == b"are you there?\n"
        assert app.stops() == -15
        assert re.findall(r" (proxy\S*): stopped", app.err) == ["proxy/front", "proxy/back", "proxy"]  # L6
        assert "Traceback" not in app.err


def multicast(name: str) -> None:
    socat = foreign("socat")
    with serving(name, 7010) as app:
        for clock in ("tower", "kitchen"):
            app.says(rf"clocks/seeker: found: {clock} is a clock")
        command = [socat, "-t1", "-", "UDP4-DATAGRAM:239.255.70.10:7010,ip-multicast-if=127.0.0.1"]
        answers = told(command, b"clock?")
        assert b"tower is a clock" in answers
        assert b"kitchen is a clock" in answers
        assert app.stops() == -15
        assert "Traceback" not in app.err


def socket_activation(name: str) -> None:
    # Its port is its own and is taken by systemd-socket-activate, so `serving` does not fit.
    command = [foreign("systemd-socket-activate"), "-l", "127.0.0.1:7011", "--fdname=web"]
    with (
        open(Path(tempfile.gettempdir(), "trioservice-examples.lock"), "w") as lock,
        running([*command, *trioservice("run", EXAMPLES / name)]) as app,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        app.says("Listening on")
        assert ask(7011, b"hello") == b"HELLO"
        app.says(r"shouting/web: listening on 127\.0\.0\.1:7011")
        assert app.stops() == -15
        assert "Traceback" not in app.err


def unix_and_ssl_clients(name: str) -> None:
    foreign("openssl")
    with serving(name, 7013) as app:
        app.says(r"says: it is \d+")
        app.says(r"says: the secret is 42")
        assert app.stops() == -15
        assert "not verify" not in app.err
        assert "Traceback" not in app.err


def protocol(name: str) -> None:
    with serving(name, 7014) as app:
        app.says(r"lines/front: listening on 127\.0\.0\.1:7014")
        assert ask(7014, b"apples\npears\n") == b"1: apples\n2: pears\n"
        assert ask(7014, b"plums\n") == b"1: plums\n", "each connection has a protocol of its own"
        assert ask(7014, b"x" * 1001) == b""
        app.says(r"ValueError: a line of more than 1000 bytes")
        assert ask(7014, b"pears\n") == b"1: pears\n"  # L16
        assert app.stops() == -15


def udp_protocol(name: str) -> None:
    with serving(name, 7015) as app, socket.socket(type=socket.SOCK_DGRAM) as client:
        app.says(r"numbers/udp: listening on 127\.0\.0\.1:7015")
        client.settimeout(20)
        client.connect(("127.0.0.1", 7015))
        for number, word in enumerate([b"hello", b"", b"again"], 1):
            client.send(word)
            assert client.recv(100) == b"%d: %s" % (number, word)
        assert app.stops() == -15
        assert "Traceback" not in app.err


def deployed(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        menu = Path(folder, "menu")
        menu.write_text("soup\n")
        with serving(name, 7016, "--set", f"menu={menu}") as app:
            app.says(r"menu/counter: listening on 127\.0\.0\.1:7016")
            assert ask(7016, b"") == b"soup\n"
            menu.write_text("stew\n")
            app.send(signal.SIGHUP)
            app.says(r"menu: reloaded")
            assert ask(7016, b"") == b"stew\n"
            menu.unlink()
            app.send(signal.SIGHUP)
            app.says(r"FileNotFoundError")
            assert ask(7016, b"") == b"stew\n"
            assert app.stops() == -15


def program(name: str) -> None:
    with serving(name, 7017) as app:
        app.says(r"office/files: Serving HTTP on 127\.0\.0\.1 port 7017")
        app.says(r"office/reader: today: \['soup', 'bread'\]")
        assert ask(7017, b"GET /today.txt HTTP/1.0\r\n\r\n").endswith(b"soup\nbread\n")
        assert app.stops() == -15
        assert app.err.index("office/reader: stopped") < app.err.index("was ended by SIGTERM")
    with socket.socket() as attempt:  # nothing of it is left
        assert attempt.connect_ex(("127.0.0.1", 7017)) != 0


def starlette(name: str) -> None:
    pytest.importorskip("starlette")
    with serving(name, 7018) as app:
        app.says(r"kitchen: running")
        assert app.err.index("the stove is hot") < app.err.index("kitchen/web: listening")
        with socket.create_connection(("127.0.0.1", 7018), timeout=20) as guest:
            guest.sendall(
                b"GET /news HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            with guest.makefile("rb") as news:
                while news.readline() != b"\r\n":
                    pass
                said = b"POST /ready HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nsoup"
                assert ask(7018, said).endswith(b"told\n")
                heard = b""
                while b"soup is ready" not in heard:
                    heard += news.read(1)
                app.send(signal.SIGTERM)
                assert b"\x03\xf4the server stops" in news.read(), "1012"
        assert app.ends() == -15
        assert app.err.index("the stove is off") < app.err.index("kitchen/web: stopped")


def fastapi(name: str) -> None:
    pytest.importorskip("fastapi")
    with serving(name, 7019) as app:
        app.says(r"shop: running")
        get = b"GET /stock/%b HTTP/1.0\r\n\r\n"
        assert b'"fruit":"apples"' in ask(7019, get % b"apples")
        assert ask(7019, get % b"plums").startswith(b"HTTP/1.1 404")
        assert app.stops() == -15
        assert app.err.index("shop/web: stopped") < app.err.index("shop/restock: stopped")


def flask(name: str) -> None:
    pytest.importorskip("flask")
    with serving(name, 7020) as app:
        app.says(r"shop: running")
        assert ask(7020, b"GET /hello?name=you HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nHello, you.\n")
        assert app.stops() == -15
        assert "Traceback" not in app.err


def dns(name: str) -> None:
    dig = foreign("dig")
    with serving(name, 5353) as app:
        app.says(r"DNSExample/dnsService/tcp: listening on 127\.0\.0\.1:5353")
        for way in ("+notcp", "+tcp"):
            command = [dig, "@127.0.0.1", "-p", "5353", way, "+short"]
            assert told([*command, "-x", "127.0.0.1"], b"") == b"localhost.\n"
            assert b"127.0.0.1\n" in told([*command, "localhost"], b"")
        assert app.stops() == -15
        stopped = re.findall(r" DNSExample/dnsService/(\w+): stopped", app.err)
        assert stopped == ["tcp", "udp", "hosts"]  # L6
        assert "Traceback" not in app.err


def forwarded(name: str) -> None:
    with serving(name, 7025) as app:
        app.says(r"forward/door/far: cannot connect to 127\.0\.0\.1:7001")
        assert "forward/door/near: running" not in app.err  # L5
        with running(trioservice("run", EXAMPLES / "01_echo.tac")) as echo:
            app.says(r"forward/door/near: listening on 127\.0\.0\.1:7025")
            assert ask(7025, b"hello") == b"hello"
            assert echo.stops() == -15
        with pytest.raises(OSError, match=r"reset|not connected|pipe"):
            ask(7025, b"is anybody there?")
        app.says(r"forward/door/near: cannot forward 127\.0\.0\.1:\d+: cannot connect")
        assert app.stops() == -15
        assert "Traceback" not in app.err


def twisted(name: str) -> None:
    with serving(name, 7022) as app:
        app.says(r"shop/delivery: running")
        app.says(r"shop/delivery: an apple has come")
        assert ask(7022, b"GET /pears HTTP/1.0\r\n\r\n").endswith(b"2 pears\n")
        ask(7022, b"GET /worms HTTP/1.0\r\n\r\n")
        app.says(r"CRITICAL shop/web: (.*\n)+.*KeyError: b'worms'")
        assert app.stops() == -15
        stopped = re.findall(r" (shop\S*): stopped", app.err)
        assert stopped == ["shop/delivery", "shop/web", "shop/stock", "shop"]  # L6
        assert app.err.index("shop/web: stopped") < app.err.index("the stock is put away")


def asyncio_ftp(name: str) -> None:
    curl = foreign("curl")
    with serving(name, 7023) as app:
        app.says(r"office/ftp: running")
        assert told([curl, "-sS", "ftp://127.0.0.1:7023/menu.txt"], b"") == b"soup\n"
        told([curl, "-sS", "-T", "-", "ftp://127.0.0.1:7023/new.txt"], b"stew\n")
        assert told([curl, "-sS", "ftp://127.0.0.1:7023/new.txt"], b"") == b"stew\n"
        assert app.stops() == -15
        stopped = re.findall(r" (office\S*): stopped", app.err)
        assert stopped == ["office/ftp", "office/folder", "office"]  # L6


def guest(name: str) -> None:
    with serving(name, 7024, run=[sys.executable]) as app:
        until(lambda: app.out.startswith("ready\n"), "it is ready")
        answer = ask(7024, b"")
        assert re.fullmatch(rb"asyncio has counted to \d+\n", answer)
        assert app.stops() == 0
        assert "the tree is gone, and asyncio has counted to" in app.out
        assert "Traceback" not in app.err


def static_web(name: str) -> None:
    curl = foreign("curl")
    with serving(name, 7026) as app:
        app.says(r"site/web: listening on 127\.0\.0\.1:7026")
        page = told([curl, "-sS", "http://127.0.0.1:7026/"], b"")
        assert b"01_echo.tac" in page
        assert told([curl, "-sS", "http://127.0.0.1:7026/menu/today.txt"], b"") == b"soup\nbread\n"
        assert told([curl, "-sS", "-r", "0-3", "http://127.0.0.1:7026/menu/today.txt"], b"") == b"soup"
        app.says(r'"GET /menu/today.txt HTTP/1.1" 206 4')
        assert app.stops() == -15
        assert "Traceback" not in app.err


def tls_site(name: str) -> None:
    foreign("openssl")
    with serving(name, 7027) as app:
        app.says(r"site/web: listening on 127\.0\.0\.1:7027")
        first = _page_and_certificate(7027)
        assert first[0].endswith(b"soup\nbread\n")
        app.send(signal.SIGHUP)
        app.says(r"site: reloaded")
        again = _page_and_certificate(7027)
        assert again[0].endswith(b"soup\nbread\n")
        assert again[1] != first[1], "it is another certificate"
        assert app.stops() == -15
        assert "Traceback" not in app.err


def _page_and_certificate(port: int) -> tuple[bytes, bytes | None]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it vouches for itself
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain) as client,
        client.makefile("rb") as answer,
    ):
        client.sendall(b"GET /menu/today.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return answer.read(), client.getpeercert(binary_form=True)


#: What each example has to do; a file without an entry fails the test.
DOES: dict[str, Callable[[str], None]] = {
    "01_echo.tac": echo,
    "02_front_and_back.tac": front_and_back,
    "03_tcp_client.tac": tcp_client,
    "04_unix_server.tac": unix_server,
    "05_ssl_server.tac": ssl_server,
    "06_udp_server.tac": udp_server,
    "07_udp_client.tac": udp_client,
    "08_unix_datagram.tac": unix_datagram,
    "09_proxy.tac": proxy,
    "10_multicast.tac": multicast,
    "11_socket_activation.tac": socket_activation,
    "12_timer.tac": timer,
    "13_unix_and_ssl_clients.tac": unix_and_ssl_clients,
    "14_protocol.tac": protocol,
    "15_udp_protocol.tac": udp_protocol,
    "16_deployed.tac": deployed,
    "17_program.tac": program,
    "18_starlette.tac": starlette,
    "19_fastapi.tac": fastapi,
    "20_flask.tac": flask,
    "21_dns.tac": dns,
    "22_twisted.tac": twisted,
    "23_asyncio.tac": asyncio_ftp,
    "24_guest.py": guest,
    "25_portforward.tac": forwarded,
    "26_static_web.tac": static_web,
    "27_tls_site.tac": tls_site,
}


def test_every_example_has_a_test_and_every_test_an_example() -> None:
    """An example that nobody runs soon teaches what is no longer true."""
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert files == DOES.keys()


@pytest.mark.parametrize("name", DOES)
def test_the_example_does_what_it_says(name: str) -> None:
    """It starts, answers and stops as the comment at its top promises."""
    DOES[name](name)


@pytest.mark.parametrize("name", DOES)
def test_the_comment_at_the_top_names_the_commands_that_work(name: str) -> None:
    """What a reader is told to type names this file and the port that it really uses."""
    _, comment, code = (EXAMPLES / name).read_text().split('"""', 2)
    command = "trioservice run" if name.endswith(".tac") else "python"
    assert f"{command} examples/{name}" in comment
    # The port of another example may stand in the comment too: that of a server to talk to.
    assert set(re.findall(r"\b(70\d\d)\b", code)) <= set(re.findall(r"\b(70\d\d)\b", comment))
