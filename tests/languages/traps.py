"""What the page "In Python, JavaScript, Go and C" says of Python, seen in a run. Ends with an error if one isn't so."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading


# As a student has it, whatever this test was started with.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def pair():
    """A client and the server's side of its connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]


def seen(trap, is_so):
    if not is_so:
        sys.exit(f"{trap}: this is not so in Python {sys.version.split()[0]}")
    print(trap)


def print_is_held_back():
    """Standard output into a pipe is kept back until the program ends or flushes."""
    server = 'import sys, time; print("listening on ADDR"); print("ready", file=sys.stderr, flush=True); sys.stdin.read()'
    program = subprocess.Popen([sys.executable, "-c", server], stdin=-1, stdout=-1, stderr=-1, env=BUFFERED)
    program.stderr.readline()
    os.set_blocking(program.stdout.fileno(), False)
    held_back = program.stdout.read() is None
    program.stdin.close()
    seen("print-is-held-back", held_back)
    program.wait()


def one_family():
    """create_server listens on one family: to take both, it has to be told so."""
    with socket.create_server(("", 0)) as listener:
        seen("empty-host-is-ipv4", listener.family == socket.AF_INET)


def timeout_is_per_call():
    """settimeout bounds one recv, and sendall as a whole."""
    client, server = pair()
    server.settimeout(0.3)
    letters = [server.recv(1) for _ in range(8) if client.send(b"x")]
    seen("a-timeout-is-for-one-recv", len(letters) == 8)


def timeout_ends_sendall():
    """The same timeout ends a sendall for which the client has no room yet, and part of it is sent."""
    client, server = pair()
    server.settimeout(0.1)
    try:
        server.sendall(b"x" * 64_000_000)
        cut_off = False
    except TimeoutError:
        cut_off = True
    seen("a-timeout-ends-sendall-too", cut_off)


def digits_of_other_scripts():
    """isdigit and int take more than 0 to 9."""
    seen("int-takes-other-digits", "\uff18".isdigit() and int("\uff18_0 ") == 80)


def write_after_eof():
    """asyncio: a write after write_eof raises. In a callback, that ends nothing and nobody is told."""
    async def raises():
        client, server = pair()
        writer = (await asyncio.open_connection(sock=server))[1]
        writer.write_eof()
        try:
            writer.write(b"bye\n")
            return False
        except RuntimeError:
            return True
        finally:
            writer.close()
            client.close()
    seen("asyncio-write-after-write-eof-raises", asyncio.run(raises()))


def makefile_drops_read_ahead():
    """A second makefile has none of what the first one read ahead."""
    client, server = pair()
    client.sendall(b"one\ntwo\n")
    client.shutdown(socket.SHUT_WR)
    first = server.makefile("rwb").readline()
    rest = server.makefile("rwb").readline()
    seen("a-second-makefile-lacks-what-the-first-read", (first, rest) == (b"one\n", b""))


def peek_blocks():
    """peek on an empty buffer reads, and so waits."""
    client, server = pair()
    file = server.makefile("rb")
    client.sendall(b"one\n")
    file.readline()
    peeked = threading.Event()
    threading.Thread(target=lambda: (file.peek(), peeked.set()), daemon=True).start()
    # It can't have returned before anything was sent. That it does then shows that it waited for this.
    waited = not peeked.wait(0.3)
    client.sendall(b"two\n")
    seen("peek-waits-on-an-empty-buffer", waited and peeked.wait(10))


def text_lines():
    """Text mode ends lines at \\r too, and fails on bytes that are no text."""
    client, server = pair()
    client.sendall(b"a\rb\n\xff\n")
    client.shutdown(socket.SHUT_WR)
    file = server.makefile("r", encoding="utf-8")
    try:
        fails = not file.readline()
    except UnicodeDecodeError:
        fails = True
    # The line before them is lost as well: a whole buffer is decoded at once.
    seen("text-mode-fails-on-other-bytes", fails)
    client, server = pair()
    client.sendall(b"a\rb\n")
    seen("text-mode-ends-lines-at-cr", server.makefile("r").readline() == "a\n")


def readline_limit():
    """readline with a limit returns a part of a line, without its end."""
    client, server = pair()
    client.sendall(b"x" * 20 + b"\n")
    seen("a-limited-readline-gives-parts", server.makefile("rb").readline(8) == b"x" * 8)


def accept_is_restarted():
    """PEP 475: a handler that returns doesn't end accept."""
    program = """if True:
        import signal, socket
        def handler(*_):
            print("handler", flush=True)
        signal.signal(signal.SIGTERM, handler)
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        listener.accept()
        print("accepted", flush=True)
    """
    server = subprocess.Popen([sys.executable, "-c", program], stdout=-1, text=True)
    port = int(server.stdout.readline())
    server.send_signal(signal.SIGTERM)
    handled = server.stdout.readline() == "handler\n"
    # It is in accept again: only a client brings it on.
    socket.create_connection(("127.0.0.1", port))
    seen("accept-is-restarted-after-a-handler", handled and server.stdout.readline() == "accepted\n")
    server.wait()


def broken_pipe():
    """Python ignores SIGPIPE: writing to a client that has gone is an exception."""
    client, server = pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    caught = False
    for _ in range(2):
        try:
            server.sendall(b"x")
        except (ConnectionResetError, BrokenPipeError):
            caught = True
    seen("a-client-that-has-gone-is-an-exception", caught)


for trap in [print_is_held_back, one_family, digits_of_other_scripts, timeout_is_per_call, timeout_ends_sendall,
             makefile_drops_read_ahead, peek_blocks, text_lines, readline_limit, write_after_eof, accept_is_restarted, broken_pipe]:
    trap()
