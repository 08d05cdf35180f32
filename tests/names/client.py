"""An app that does what it is told on standard input, one line a step, and answers with one line of JSON each."""
import json
import os
import socket
import ssl
import struct
import sys


def resolve(name, port=0):
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [entry[4][0] for entry in found]


def ask(name):
    """Asks the system's resolver."""
    try:
        return {"addresses": resolve(name)}
    except socket.gaierror as error:
        return {"error": error.errno}


def said_over(connection):
    port = connection.getsockname()[1]
    connection.sendall(b"a word\n")
    answer = connection.recv(100)
    connection.close()
    return {"port": port, "answer": answer.decode()}


def connect(ip, port):
    """Says something to an address."""
    return said_over(socket.create_connection((ip, int(port)), 20))


def meet(name, port):
    """Says something to a host, as most programs do: ask, then connect to the first answer."""
    return connect(resolve(name, port)[0], port)


def throw(name, port):
    """Sends a host a datagram that nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thrower:
        thrower.connect((resolve(name)[0], int(port)))
        thrower.send(b"a word")
        return {"port": thrower.getsockname()[1]}


def tls(ip, port, name, length, piece):
    """Greets by TLS with a first message of more than `length` bytes, in pieces of so many bytes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    filler = [f"{number:0>100}" for number in range(int(length) // 100)]
    context.set_alpn_protocols(["http/1.1", *filler])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    connection = socket.create_connection((ip, int(port)), 20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    hello = 0
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            out = outgoing.read()
            hello = hello or len(out)
            for start in range(0, len(out), int(piece)):
                connection.sendall(out[start:start + int(piece)])
            incoming.write(connection.recv(65536))
    connection.sendall(outgoing.read())
    mine = connection.getsockname()[1]
    connection.close()
    return {"port": mine, "hello": hello}


def skip_name(message, at):
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += message[at] + 1
    return at + 1


def dns(server, kind, name):
    """Asks a server itself, for records of the type with this number."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", int(kind), 1)
    message = os.urandom(2) + struct.pack("!HHHHH", 0x100, 1, 0, 0, 0) + question
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(20)
        asking.connect((server, 53))
        asking.send(message)
        answer = asking.recv(4096)
    at, records = 12 + len(question), []
    for _ in range(struct.unpack_from("!H", answer, 6)[0]):
        at = skip_name(answer, at)
        kind, _, _, length = struct.unpack_from("!HHIH", answer, at)
        at += 10 + length
        records.append([kind, answer[at - length:at].hex()])
    return {"code": answer[3] & 15, "records": records}


STEPS = {step.__name__: step for step in (ask, connect, meet, throw, tls, dns)}
for line in sys.stdin:
    step, *arguments = line.split()
    print(json.dumps(STEPS[step](*arguments)), flush=True)
