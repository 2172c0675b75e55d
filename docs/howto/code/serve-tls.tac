from trioservice import Application, SSLServer
from trioservice.net.tls import CertificateFiles
from trioservice.timers import TimerService


async def greet(stream):
    await stream.send_all(f"You see me by {stream.version()}.\n".encode())


server = SSLServer(7015, greet, CertificateFiles("shop.crt", "shop.key"), host="127.0.0.1", name="web")
renewal = TimerService(6 * 3600, server.reload_certificates, delay=6 * 3600, name="renewal")

application = Application("shop", server, renewal)
