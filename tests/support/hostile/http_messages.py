"""Malformed, ambiguous and unusual HTTP messages as bytes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support import samples

IMAGE = samples.png(samples.photo("coffee", 48, 32))
_TYPE = b"Content-Type: image/png\r\n"
_HOST = b"Host: clearcut\r\n"


def post(*lines: bytes, body: bytes = IMAGE, target: bytes = b"/v1/remove", end: bytes = b"\r\n") -> bytes:
    head = [b"POST " + target + b" HTTP/1.1", b"Host: clearcut", b"Content-Type: image/png", *lines]
    return end.join(head) + end * 2 + body


def length(value: bytes | int, body: bytes = IMAGE, *more: bytes) -> bytes:
    return post(b"Content-Length: " + (str(value).encode() if isinstance(value, int) else value), *more, body=body)


def chunks(data: bytes, size: int) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def all_messages() -> Iterator[tuple[str, bytes, str]]:
    """Yield (description, bytes, outcome). ``good`` must be served, ``bad`` must be refused or disconnected."""
    yield from _lengths()
    yield from _chunked()
    yield from _heads()


def _lengths() -> Iterator[tuple[str, bytes, str]]:
    size = len(IMAGE)
    smuggled = b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "a right length", length(size), "good"
    yield "no length and no coding", post(), "bad"
    for value in (
        b"-1",
        b"+5",
        b"0x10",
        b"1e3",
        b"",
        b" ",
        b"5,5",
        b"5, 6",
        b"9" * 30,
        b"18446744073709551617",
        b"\xb2",
        b"5 5",
    ):
        yield f"length {value!r}", length(value), "bad"
    yield "a length too short", length(size // 2), "bad"
    yield "a length of 0", length(0), "bad"
    yield "a length beyond every limit", length(10**12, b""), "bad"
    yield "two equal lengths", length(size, IMAGE, b"Content-Length: %d" % size), "any"
    yield "two different lengths", length(size, IMAGE, b"Content-Length: 5"), "bad"
    yield "length before coding", length(5, chunks(IMAGE, 999) + smuggled, b"Transfer-Encoding: chunked"), "bad"
    coded = post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=chunks(IMAGE, 999) + smuggled)
    yield "coding before length", coded, "bad"


def _chunked() -> Iterator[tuple[str, bytes, str]]:
    coding = b"Transfer-Encoding: chunked"
    for size in (1, 7, 4096):
        yield f"chunks of {size}", post(coding, body=chunks(IMAGE, size)), "good"
    for what, body in (
        ("a chunk size beyond 64 bits", b"fffffffffffffffff\r\n" + IMAGE),
        ("a negative chunk size", b"-5\r\nabcde\r\n0\r\n\r\n"),
        ("a chunk size that is a word", b"five\r\nabcde\r\n0\r\n\r\n"),
        ("a chunk without its end", b"5\r\nabcdeXX0\r\n\r\n"),
        ("chunks without an image", b"0\r\n\r\n"),
    ):
        yield what, post(coding, body=body), "bad"
    yield "an endless chunk extension", post(coding, body=b"5;" + b"a" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n"), "bad"
    trailers = chunks(IMAGE, 999)[:-2] + b"X-Trailer: 1\r\nContent-Length: 7\r\n\r\n"
    yield "trailers", post(coding, body=trailers), "any"
    for value in (b"xchunked", b"chunked, identity", b"identity", b"\x0bchunked", b"chunked\x00", b"chunke"):
        yield f"coding {value!r}", post(b"Transfer-Encoding: " + value, body=chunks(IMAGE, 999)), "bad"
    yield "coding twice", post(coding, coding, body=chunks(IMAGE, 999)), "any"
    yield "coding with a space before its colon", post(b"Transfer-Encoding : chunked", body=chunks(IMAGE, 999)), "bad"
    yield "coding in capitals", post(b"TRANSFER-ENCODING: CHUNKED", body=chunks(IMAGE, 999)), "good"


def _heads() -> Iterator[tuple[str, bytes, str]]:
    size = b"Content-Length: %d" % len(IMAGE)
    for method in (b"TRACE", b"CONNECT", b"OPTIONS", b"PATCH", b"post", b"P" * 9000, b"\x00", b"GET\t", b"PRI"):
        yield f"method {method[:10]!r}", method + b" /v1/remove HTTP/1.1\r\n" + _HOST + b"\r\n", "bad"
    for target in (
        b"*",
        b"//v1/remove",
        b"/v1/remove/",
        b"/v1/%72emove%00",
        b"/v1/../v1/info",
        b"/\xff\xfe",
        b"/" + b"a" * 40_000,
        b"v1/remove",
        b"http://[",
        b"/v1/remove#x",
        b"\\v1\\remove",
    ):
        yield f"target {target[:12]!r}", b"POST " + target + b" HTTP/1.1\r\n" + _HOST + b"\r\n", "bad"
    for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/11", b"HTTP/1.1.1", b"http/1.1", b"ICY", b""):
        yield f"version {version!r}", b"POST /v1/remove " + version + b"\r\n" + _HOST + b"\r\n", "bad"
    yield "HTTP/1.0", post(size).replace(b"HTTP/1.1", b"HTTP/1.0"), "good"
    for what, line in (
        ("a line without a colon", b"nonsense"),
        ("an empty name", b": x"),
        ("NUL in a value", b"X-A: a\x00b"),
        ("NUL in a name", b"X\x00A: b"),
        ("a bare CR", b"X-A: a\rb"),
        ("a space in a name", b"X A: b"),
        ("an endless line", b"X-A: " + b"a" * 60_000),
    ):
        yield what, post(size, line), "bad"
    yield "200 headers", post(size, *[b"X-A: b"] * 200), "bad"
    yield "a folded line", post(size, b"X-A: a\r\n b"), "any"
    yield "line feeds alone", post(size, end=b"\n"), "any"
    yield "two hosts", post(size, b"Host: other"), "any"
    yield "no host", post(size).replace(_HOST, b""), "any"
    yield "upgrade to a websocket", post(size, b"Connection: Upgrade", b"Upgrade: websocket"), "any"
    yield "upgrade to HTTP/2", post(size, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), "any"
    yield "an expectation of something else", post(size, b"Expect: 200-ok"), "any"
    yield "a request id with line ends", post(size, b"X-Request-ID: a\r\nX-Injected: 1"), "good"
    yield "a request id of a script", post(size, b"X-Request-ID: <script>"), "good"
    yield "a coded body", post(size, b"Content-Encoding: gzip"), "any"
    yield "a range", post(size, b"Range: bytes=0-1"), "good"
    yield "HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30), "bad"
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), "bad"
    yield "SSH", b"SSH-2.0-OpenSSH_9.0\r\n", "bad"
    yield "binary", bytes(range(256)) * 20, "bad"
    yield "line ends before a request", b"\r\n\r\n" + post(size), "any"
