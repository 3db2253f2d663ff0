"""What a pod's processes do in tests: listen, and open connections, each as the user and group that it is told.

Reads one JSON request a line from stdin and answers one JSON line each; ends with stdin.
"""
import errno
import json
import os
import selectors
import signal
import socket
import struct
import sys

SOL_IPV6, IP_TRANSPARENT, IPV6_TRANSPARENT, SO_ORIGINAL_DST = 41, 19, 75, 80
NAME = sys.argv[1]


def say(value):
    os.write(1, (json.dumps(value) + "\n").encode())


def become(user, group):
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def new_socket(address, udp, transparent):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if transparent:
        v6 = family == socket.AF_INET6
        made.setsockopt(SOL_IPV6 if v6 else socket.SOL_IP, IPV6_TRANSPARENT if v6 else IP_TRANSPARENT, 1)
    return made


def original_destination(connection):
    """Where it was going before a redirect, from connection tracking; its own address where nothing was tracked."""
    v6 = connection.family == socket.AF_INET6
    try:
        raw = connection.getsockopt(SOL_IPV6 if v6 else socket.SOL_IP, SO_ORIGINAL_DST, 28 if v6 else 16)
    except OSError:
        return connection.getsockname()[:2]
    address = socket.inet_ntop(connection.family, raw[8:24] if v6 else raw[4:8])
    return [address, struct.unpack("!H", raw[2:4])[0]]


def shown(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def answer_one(listener, udp, port):
    if udp:
        _, peer = listener.recvfrom(64)
        seen = {"at": NAME, "port": port, "local": shown(listener.getsockname()), "peer": shown(peer)}
        listener.sendto(json.dumps(seen | {"original": seen["local"]}).encode(), peer)
        return
    connection, peer = listener.accept()
    seen = {"at": NAME, "port": port, "local": shown(connection.getsockname()), "peer": shown(peer)}
    # The other side may be gone already: that is its business.
    try:
        seen["original"] = shown(original_destination(connection))
        connection.sendall(json.dumps(seen).encode())
    except OSError:
        pass
    connection.close()


def serve(request):
    become(*request["who"])
    selector = selectors.DefaultSelector()
    for udp, address, port in request["listeners"]:
        listener = new_socket(address, udp, request["transparent"])
        listener.bind((address, port))
        if not udp:
            listener.listen()
        selector.register(listener, selectors.EVENT_READ, (udp, port))
    say({"serving": True})
    while True:
        for key, _ in selector.select():
            answer_one(key.fileobj, *key.data)


def call(request):
    become(*request["who"])
    destination, source = request["to"], request["from"]
    caller = new_socket(destination[0], request["udp"], bool(request["mark"]))
    caller.settimeout(request["seconds"])
    if request["mark"]:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, request["mark"])
    if source:
        caller.bind(tuple(source))
    caller.connect(tuple(destination))
    if request["udp"]:
        caller.send(b"?")
        return json.loads(caller.recv(4096))
    said = b""
    while part := caller.recv(4096):
        said += part
    return json.loads(said)


def obey(request):
    try:
        if "listeners" in request:
            serve(request)
        else:
            say({"answer": call(request)})
    except TimeoutError:
        say({"error": "silence"})
    except OSError as error:
        say({"error": errno.errorcode.get(error.errno, str(error))})
    except ValueError:
        say({"error": "closed"})


def main():
    # Children are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            obey(request)
            os._exit(0)


main()
