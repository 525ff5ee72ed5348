"""Servers that would keep a careless examiner for ever, or leave something behind. Usage: hostile.py HOW HOST:PORT"""

import signal
import socket
import subprocess
import sys
import threading
import time


def flood(client):
    """Sends, whatever it is asked."""
    while True:
        client.sendall(b"x" * 65536)


def drip(client):
    """Answers right, a byte each tenth of a second."""
    for line in client.makefile("rb"):
        for byte in b"echo: " + line:
            client.sendall(bytes([byte]))
            time.sleep(0.1)


def never_end(client):
    """Does not look for the end, and answers an empty line for ever."""
    reader = client.makefile("rb")
    while True:
        client.sendall(b"echo: " + reader.readline().rstrip(b"\r\n") + b"\n")
        time.sleep(0.05)


def stay(client):
    """Answers right, goes on after the signal, and leaves a process behind that has left the group."""
    for line in client.makefile("rb"):
        client.sendall(b"echo: " + line)


def main():
    how, addr = sys.argv[1:]
    host, _, port = addr.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=1024)
    if how == "stay":
        signal.signal(signal.SIGTERM, lambda *_: None)
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(globals()[how], client), daemon=True).start()


def serve(handle, client):
    try:
        with client:
            handle(client)
    except OSError:
        pass


main()
