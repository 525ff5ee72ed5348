"""An echo server that stops as it should, and can be given one fault: stopping.py ADDR [FAULT [GRACE]].

A line that begins with "slow" is answered after a second. The grace time is 2 s unless it is given.
"""
import os, selectors, signal, socket, sys, threading, time

GRACE = int(sys.argv[3]) if len(sys.argv) > 3 else 2
fault = sys.argv[2] if len(sys.argv) > 2 else "none"
started = time.monotonic()
stopping = False
deadline = None
ready = selectors.DefaultSelector()


class Client:
    def __init__(self, stream):
        self.stream = stream
        self.received = b""
        self.to_send = bytearray()
        self.spoken = self.ended = False
        self.slow = []  # When each is due, and its answer.
        self.leaving = None  # Until when this waits for the client to be done.
        self.heard = time.monotonic()

    def fileno(self):
        return self.stream.fileno()

    def read(self):
        while True:
            try:
                got = self.stream.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                got, self.leaving = b"", 0
            if not got:
                self.ended = True
                if fault == "end-drops-slow":
                    self.slow = []
                return
            if self.leaving:
                continue
            self.spoken = True
            self.heard = time.monotonic()
            *lines, self.received = (self.received + got).split(b"\n")
            for line in lines:
                self.answer(line)

    def answer(self, line):
        if line.startswith(b"slow") or self.slow:
            self.slow.append((time.monotonic() + 1, line))
        else:
            self.to_send += b"echo: " + line + b"\n"

    def write(self):
        now = time.monotonic()
        while self.slow and self.slow[0][0] <= now:
            self.to_send += b"echo: " + self.slow.pop(0)[1] + b"\n"
        try:
            while self.to_send:
                del self.to_send[:self.stream.send(self.to_send)]
        except BlockingIOError:
            pass
        except OSError:
            self.ended, self.leaving = True, 0

    def is_idle(self):
        if fault == "never-spoken-kept" and not self.spoken:
            return False
        if fault == "slow-is-idle":
            return not self.received
        if fault == "keeps-one-slow" and self.slow:
            return any(client.slow for client in clients[:clients.index(self)])
        if fault == "forgets-unsent":
            return not (self.received or self.slow)
        return not (self.received or self.to_send or self.slow)

    def leave(self):
        if fault == "no-drain":
            self.leaving = 0
            return
        self.leaving = time.monotonic() + 1
        try:
            if fault == "says-bye":
                self.stream.send(b"bye\n")
            self.stream.shutdown(socket.SHUT_WR)
        except OSError:
            self.leaving = 0


def accept():
    global accepts_from
    if fault == "accepts-late" and (stopping or time.monotonic() < accepts_from):
        time.sleep(0.02)
        return
    accepts_from = time.monotonic() + 5
    while True:
        try:
            stream, _ = listener.accept()
        except (BlockingIOError, ValueError, OSError):
            return
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(stream)
        clients.append(client)
        ready.register(client, selectors.EVENT_READ, client)


def drop(client):
    clients.remove(client)
    ready.unregister(client)
    client.stream.close()


def stop_listening():
    ready.unregister(listener)
    listener.close()


def begin_to_stop():
    global deadline
    if fault == "accepts-until-it-is-quiet":
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + 0.06:
            before = len(clients)
            accept()
            if len(clients) > before:
                quiet_since = time.monotonic()
            time.sleep(0.005)
    deadline = (started if fault == "grace-from-start" else time.monotonic()) + GRACE
    if fault == "drains-after-the-grace":
        deadline += 3
    if fault != "queue-reset":
        accept()
    if fault == "refuses-late":
        threading.Timer(1.2, stop_listening).start()
    elif fault != "accepts-on":
        stop_listening()
    for client in clients:
        if fault == "tells-everybody" and not client.to_send:
            client.stream.send(b"notice: going down\n")
        if fault != "half-in-kernel":
            client.read()
        elif client.is_idle():
            client.leave()
        client.write()


def on_signal(*_):
    global stopping
    if fault == "slow-to-die":
        time.sleep(0.7)
        os._exit(143)
    if fault == "slow-to-end":
        time.sleep(1.5)
        os._exit(0)
    if fault == "dies-at-once":
        os._exit(0)
    stopping = True


host, port = sys.argv[1].rsplit(":", 1)
listener = socket.create_server((host, int(port)), backlog=128)
listener.setblocking(False)
if fault == "accepts-who-speaks":
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
ready.register(listener, selectors.EVENT_READ)
clients = []
accepts_from = 0
if fault != "no-handler":
    signal.signal(signal.SIGTERM, on_signal)
if fault == "flag-only":
    tick = None
else:
    # A byte here ends the wait.
    woken, waking = socket.socketpair()
    woken.setblocking(False)
    waking.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    ready.register(woken, selectors.EVENT_READ, woken)
    tick = 0.02
print(f"listening on {host}:{port}", flush=True)
while True:
    if stopping and deadline is None:
        begin_to_stop()
    busy = stopping or any(client.slow or client.to_send or fault == "short-limit" for client in clients)
    events = ready.select(tick if busy else None)
    if stopping and deadline is None and tick:
        continue
    for key, _ in events:
        if key.fileobj is listener:
            accept()
        elif key.data is not woken if tick else True:
            key.data.read()
        else:
            woken.recv(64)
    now = time.monotonic()
    for client in list(clients):
        client.write()
        if fault == "short-limit" and now > client.heard + 0.8 and client.leaving is None:
            client.leave()
        if client.leaving is None and not client.to_send and not client.slow and client.ended:
            client.leave()
        if client.leaving is None and stopping and deadline is not None and client.is_idle():
            client.leave()
        if client.leaving is not None and (client.ended or now > client.leaving):
            drop(client)
    if stopping and deadline is not None:
        if now > deadline or not clients and fault not in ("whole-grace", "accepts-on"):
            break
if fault == "by-the-signal":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(3 if fault == "status-3" else 0)
