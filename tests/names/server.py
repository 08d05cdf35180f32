"""Servers that say which name each client asked them for.

server.py CERTIFICATE KEY KIND=IP:PORT...: `tls` and `http` answer with a page, `echo` says back what it is told, once.
"""
import http.server
import socket
import socketserver
import ssl
import sys
import threading


def say(*words):
    print(*words, flush=True)


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        say("asked", self.headers.get("Host"))
        body = b"<title>here</title>\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class SecurePage(Page):
    def setup(self):
        # Here, in the connection's own thread: a client that says nothing must not hold the others up.
        head = self.request.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL)
        say("greeting of", int.from_bytes(head[3:5], "big"), "bytes")
        self.request = SECURE.wrap_socket(self.request, server_side=True)
        super().setup()


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(100))
        self.request.recv(1)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        say("error", repr(sys.exc_info()[1]))


class Server6(Server):
    address_family = socket.AF_INET6


SECURE = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
SECURE.load_cert_chain(sys.argv[1], sys.argv[2])
SECURE.set_alpn_protocols(["http/1.1"])
SECURE.sni_callback = lambda _socket, name, _context: say("hello", name)

for argument in sys.argv[3:]:
    kind, _, at = argument.partition("=")
    ip, _, port = at.rpartition(":")
    server = Server6 if ":" in ip else Server
    handler = {"tls": SecurePage, "http": Page, "echo": Echo}[kind]
    threading.Thread(target=server((ip, int(port)), handler).serve_forever).start()
say("ready")
