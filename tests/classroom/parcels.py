"""Exercise 4 in Python. With --naive, every read is taken for a whole parcel."""

import socket
import struct
import sys
import threading
import time

LARGEST = 1024 * 1024


def read(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def send(connection, contents):
    connection.sendall(struct.pack(">I", len(contents)) + contents)


def serve(connection):
    while header := read(connection, 4):
        if len(header) < 4:
            return send(connection, b"error: cut off after %d of 4 bytes" % len(header))
        (length,) = struct.unpack(">I", header)
        if length > LARGEST:
            return send(connection, b"error: too large")
        contents = read(connection, length)
        if len(contents) < length:
            return send(connection, b"error: cut off after %d of %d bytes" % (len(contents), length))
        send(connection, contents[::-1])


def serve_naively(connection):
    while parcel := connection.recv(4 + LARGEST):
        connection.sendall(parcel[:4] + parcel[:3:-1])


def serve_and_close(connection):
    with connection:
        (serve_naively if "--naive" in sys.argv else serve)(connection)
        connection.shutdown(socket.SHUT_WR)
        # Closed with bytes unread, it would be reset, and the last answer lost.
        connection.settimeout(1)
        enough = time.monotonic() + 1
        while connection.recv(4096) and time.monotonic() < enough:
            pass


host, port = sys.argv[-1].rsplit(":", 1)
with socket.create_server((host, int(port)), backlog=128) as listener:
    print(f"listening on {sys.argv[-1]}", flush=True)
    while True:
        threading.Thread(target=serve_and_close, args=[listener.accept()[0]], daemon=True).start()
