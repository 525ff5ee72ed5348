"""An echo of lines, a thread for each client, with one peculiarity: python3 echo.py PECULIARITY HOST:PORT"""

import ctypes
import os
import signal
import socket
import sys
import threading
import time

peculiarity, addr = sys.argv[1:]
host, _, port = addr.rpartition(":")
clients = threading.Semaphore(40)
kept, failed = [], []
came = 0


def serve(client):
    try:
        with client, client.makefile("rb") as lines:
            for line in lines:
                if peculiarity == "dies-of-other-bytes" and not line.isascii():
                    os._exit(1)
                client.sendall(b"echo: " + line)
    except OSError:
        failed.append(client)
        if peculiarity == "keeps-what-failed":
            kept.append(os.dup(0))
    if peculiarity == "keeps-all":
        kept.append(os.dup(0))


def serve_some(client):
    if not clients.acquire(blocking=False):
        client.sendall(b"busy\n")
        client.close()
        return
    serve(client)
    clients.release()


def fork(client):
    if os.fork() == 0:
        listener.close()
        work(0.01)
        serve(client)
        os._exit(0)
    client.close()


def is_banned():
    """After five clients that failed, until nobody has come for a second and a half."""
    global came
    before, came = came, time.monotonic()
    if came > before + 1.5:
        failed.clear()
    return len(failed) >= 5


def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def work_all_the_time():
    while True:
        work(0.03)
        time.sleep(0.05)


if peculiarity == "announces":
    print(f"process {os.getpid()} starts on port {port}", flush=True)
if peculiarity == "needs-descriptors":
    kept = [os.dup(0) for _ in range(100)]
if peculiarity == "hides":
    # PR_SET_DUMPABLE: from now on only root can look at this process.
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
try:
    listener = socket.create_server((host, int(port)), backlog=256, reuse_port=peculiarity == "shares-port")
except OSError:
    # Python's own words, and the trace, would be in English.
    text = {"speaks-german": f"Fehler: {addr}: Die Adresse wird bereits verwendet"}
    sys.exit(text.get(peculiarity, 1))
if peculiarity == "dies-of-sigpipe":
    # As in C, unless one ignores it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if peculiarity == "works-all-the-time":
    threading.Thread(target=work_all_the_time, daemon=True).start()
if peculiarity == "ends-when-quiet":
    listener.settimeout(1)
burst = 0
while True:
    try:
        client, _ = listener.accept()
    except TimeoutError:
        sys.exit("nobody came")
    except OSError:
        if peculiarity == "tries-in-bursts":
            # As asyncio does: a second of rest, and then many attempts at once.
            if time.monotonic() > burst + 0.1:
                time.sleep(0.9)
                burst = time.monotonic()
        elif peculiarity != "spins":
            time.sleep(0.1)
        continue
    if peculiarity == "accepts-slowly":
        time.sleep(0.06)
    if peculiarity == "stops-reading":
        kept.append(client)
        continue
    if peculiarity == "bans" and is_banned():
        client.sendall(b"banned\n")
        client.close()
        continue
    if peculiarity == "forks":
        fork(client)
        continue
    threading.Thread(target=serve_some if peculiarity == "says-busy" else serve, args=(client,), daemon=True).start()
