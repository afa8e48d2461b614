"""Resolvers and raw TCP servers for tests of the fetch client."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, contextmanager

import httpcore2
from dnslib import AAAA, QTYPE, RR, A, DNSRecord


def resolving(addresses, otherwise=None):
    """Return a resolver that looks up a dictionary. Names that are not in it resolve to ``otherwise``."""

    async def resolve(host, port):
        found = addresses.get(host, otherwise)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found

    return resolve


class NoNetwork(httpcore2.AsyncNetworkBackend):
    """A network backend that records connection attempts and refuses them."""

    def __init__(self):
        self.attempts = []

    async def connect_tcp(self, host, port, *_, **__):
        self.attempts.append((host, port))
        raise httpcore2.ConnectError("this test has no network")


@asynccontextmanager
async def serving(answer, host="127.0.0.1", port=0, ssl=None):
    """Run a TCP server that calls ``await answer(head, reader, writer)`` for each connection. Yield (port, heads)."""
    heads = []

    async def connected(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            await answer(head, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, port, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


def bytes_of(*parts):
    """Return an ``answer`` function that writes these bytes."""

    async def answer(head, reader, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def ok(body, *lines):
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def redirect(location, status=302):
    return b"HTTP/1.1 %d Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location.encode())


@contextmanager
def name_server(*addresses):
    """Run a DNS server on a UDP port. Yield (resolver that uses it, names that were queried).

    The n-th query returns the addresses of ``addresses[n]``. Later queries return the last ones.
    """
    queries = []
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.bind(("127.0.0.1", 0))
    port = link.getsockname()[1]

    def serve():
        while True:
            try:
                data, peer = link.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            question = DNSRecord.parse(data)
            reply = question.reply()
            for address in addresses[min(len(queries), len(addresses) - 1)]:
                six = ":" in address
                record = (AAAA if six else A)(address)
                reply.add_answer(RR(question.q.qname, QTYPE.AAAA if six else QTYPE.A, rdata=record, ttl=0))
            queries.append(str(question.q.qname).rstrip("."))
            link.sendto(reply.pack(), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    async def resolve(host, _):
        reply = await asyncio.to_thread(DNSRecord.question(host).send, "127.0.0.1", port, timeout=5)
        return [str(record.rdata) for record in DNSRecord.parse(reply).rr]

    try:
        yield resolve, queries
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
        thread.join(5)
        link.close()
