"""Answers each line at once, and keeps for each client what it hasn't taken yet: as much of it as there is."""

import selectors
import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
listener = socket.create_server((host, int(port)), backlog=64)
listener.setblocking(False)
ready = selectors.DefaultSelector()
ready.register(listener, selectors.EVENT_READ)
lines, answers = {}, {}

while True:
    for key, events in ready.select():
        client = key.fileobj
        if client is listener:
            client, _ = listener.accept()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines[client], answers[client] = b"", []
            ready.register(client, selectors.EVENT_READ)
            continue
        try:
            if events & selectors.EVENT_READ:
                data = client.recv(65536)
                if not data:
                    raise ConnectionError
                *whole, lines[client] = (lines[client] + data).split(b"\n")
                answers[client] += [b"echo: " + line + b"\n" for line in whole]
            while answers[client]:
                batch = b"".join(answers[client][:100])
                sent = client.send(batch)
                answers[client][:100] = [batch[sent:]] if sent < len(batch) else []
        except BlockingIOError:
            pass
        except OSError:
            ready.unregister(client)
            client.close()
            continue
        waiting = selectors.EVENT_WRITE if answers[client] else 0
        ready.modify(client, selectors.EVENT_READ | waiting)
