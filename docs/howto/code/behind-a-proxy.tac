from trioservice import Application, TCPServer


async def who(stream):
    await stream.receive_some()  # the request
    host, _ = stream.peer
    body = f"you are {host}\n"
    await stream.send_all(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


application = Application("whoami", TCPServer(7014, who, proxy_protocol=["127.0.0.1", "10.0.0.0/8"]))
