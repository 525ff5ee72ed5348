import socketserver
import sys


class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data.strip().upper() + b"\n")


host, _, port = sys.argv[1].rpartition(":")
with socketserver.ThreadingTCPServer((host, int(port)), Upper) as server:
    server.serve_forever()
