"""Fetches over real sockets: connections, requests, and limits for hostile servers."""

import asyncio
import gzip
import logging
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from clearcut.errors import FetchFailed, TooManyBytes, UrlRefused
from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import FetchPolicy, HostRule
from tests.support.http_servers import NoNetwork, bytes_of, name_server, ok, redirect, resolving, serving

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def allowing(*entries, **changes):
    """Return a policy that allows these hosts and ports."""
    return FetchPolicy(allow=tuple(HostRule(host, port=port) for host, port in entries), **changes)


def fetching(answer, *, path="/a.png", resolve=None, max_bytes=None, **changes):
    """Fetch from an allowed local server. Returns the file and the request heads."""

    async def run():
        async with serving(answer) as (port, heads):
            fetcher = FetchClient(allowing(("127.0.0.1", port), **changes), resolve)
            url = f"http://127.0.0.1:{port}{path}"
            return await fetcher.get(url, role="image", max_bytes=max_bytes), heads

    return asyncio.run(run())


def failing(answer, kind=FetchFailed, **options):
    with pytest.raises(kind) as caught:
        fetching(answer, **options)
    assert caught.value.role == "image"
    return caught.value


def test_request_sends_only_necessary_headers():
    answer = bytes_of(ok(IMAGE, b"Content-Type: Image/PNG; charset=x", b"Set-Cookie: a=b"))
    found, (head,) = fetching(answer, path="/a b.png".replace(" ", "%20") + "?q=1#frag")
    assert found.data == IMAGE
    assert found.media_type == "image/png"
    assert found.final_url.endswith("/a%20b.png?q=1")
    first, *lines = head.decode().rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "GET /a%20b.png?q=1 HTTP/1.1"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Connection"] == "close"
    assert headers["Host"].startswith("127.0.0.1:")
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


def test_chunked_and_unterminated_bodies_are_read():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(IMAGE), IMAGE)
    assert fetching(bytes_of(chunked))[0].data == IMAGE
    assert fetching(bytes_of(b"HTTP/1.0 200 OK\r\n\r\n", IMAGE))[0].data == IMAGE


# connections


def test_host_name_is_resolved_once():
    """The first lookup returns 127.0.0.2; a second one would return 127.0.0.1."""

    async def run(resolve):
        async with serving(bytes_of(ok(IMAGE)), "127.0.0.2") as (port, allowed):
            secret = bytes_of(ok(b"the metadata service"))
            async with serving(secret, "127.0.0.1", port) as (_, forbidden):
                fetcher = FetchClient(allowing(("photos.example", port)), resolve)
                found = await fetcher.get(f"http://photos.example:{port}/a.png", role="image")
                return found, allowed, forbidden

    with name_server(["127.0.0.2"], ["127.0.0.1"]) as (resolve, queries):
        found, allowed, forbidden = asyncio.run(run(resolve))
    assert found.data == IMAGE
    assert queries == ["photos.example"]
    assert len(allowed) == 1
    assert forbidden == []


def test_dns_rebinding_is_refused():
    async def run(resolve):
        network = NoNetwork()
        fetcher = FetchClient(FetchPolicy(), resolve, network)
        with pytest.raises(FetchFailed) as caught:  # the fake network accepts no connection
            await fetcher.get("https://rebind.example/a.png", role="image")
        assert caught.value.temporary
        assert network.attempts == [("93.184.216.34", 443)]
        with pytest.raises(UrlRefused):
            await fetcher.get("https://rebind.example/a.png", role="image")
        assert network.attempts == [("93.184.216.34", 443)]

    with name_server(["93.184.216.34"], ["127.0.0.1"]) as (resolve, queries):
        asyncio.run(run(resolve))
    assert len(queries) == 2


def test_name_with_one_private_address_is_refused():
    async def run(resolve):
        network = NoNetwork()
        with pytest.raises(UrlRefused):
            await FetchClient(FetchPolicy(), resolve, network).get("https://mixed.example/", role="image")
        assert network.attempts == []

    with name_server(["93.184.216.34", "10.0.0.1"]) as (resolve, _):
        asyncio.run(run(resolve))


def test_slow_lookups_do_not_use_the_services_threads(monkeypatch):
    """Anyone can have many host names, and name servers that never respond."""
    gate, started = threading.Event(), threading.Semaphore(0)

    def slow(*_: object, **__: object) -> list[object]:
        started.release()
        gate.wait(30)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async def run():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        fetcher = FetchClient(FetchPolicy())
        checks = [
            asyncio.create_task(fetcher.check(f"https://a{number}.example/", role="image")) for number in range(8)
        ]
        for _ in checks:
            while not started.acquire(blocking=False):  # noqa: ASYNC110 - counted on other threads
                await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            await asyncio.to_thread(int)
        gate.set()
        return await asyncio.gather(*checks, return_exceptions=True)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        assert {type(each) for each in asyncio.run(asyncio.wait_for(run(), 25))} == {UrlRefused}
    finally:
        gate.set()


def test_up_to_four_addresses_are_tried():
    async def run():
        with socket.create_server(("127.0.0.2", 0)) as unused:
            port = unused.getsockname()[1]
        async with serving(bytes_of(ok(IMAGE)), "127.0.0.1", port):
            fetcher = FetchClient(
                allowing(("two.example", port)), resolving({"two.example": ["127.0.0.2", "127.0.0.1"]})
            )
            assert (await fetcher.get(f"http://two.example:{port}/", role="image")).data == IMAGE
        network = NoNetwork()
        many = [f"93.184.216.{last}" for last in range(1, 40)]
        with pytest.raises(FetchFailed):
            await FetchClient(FetchPolicy(), resolving({"many.example": many}), network).get(
                "https://many.example/", role="image"
            )
        assert [host for host, _ in network.attempts] == many[:4]

    asyncio.run(run())


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    async def run():
        async with serving(bytes_of(ok(b"from the proxy"))) as (proxy, proxied):
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
                monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy}")
            monkeypatch.setenv("NO_PROXY", "")
            async with serving(bytes_of(ok(IMAGE))) as (port, heads):
                fetcher = FetchClient(allowing(("127.0.0.1", port)))
                found = await fetcher.get(f"http://127.0.0.1:{port}/a", role="image")
            return found, proxied, heads

    found, proxied, heads = asyncio.run(run())
    assert found.data == IMAGE
    assert proxied == []
    assert heads[0].startswith(b"GET /a HTTP/1.1")


# redirects


def test_three_redirects_are_followed():
    async def answer(head, reader, writer):
        number = int(head.split()[1][1:])
        port = writer.get_extra_info("sockname")[1]
        status = (301, 302, 303, 307, 308)[number % 5]
        writer.write(redirect(f"http://127.0.0.1:{port}/{number - 1}", status) if number else ok(IMAGE))

    for hops in (1, 2, 3):
        found, heads = fetching(answer, path=f"/{hops}")
        assert found.data == IMAGE
        assert found.final_url.endswith("/0")
        assert len(heads) == hops + 1
    assert "more than 3 redirects" in failing(answer, path="/4").details


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/secret", "http://127.0.0.2:{port}/secret", "https://10.0.0.1/", "http://[::1]:{port}/",
        "http://169.254.169.254/latest/meta-data/", "http://2130706433:{port}/", "http://localhost.private:{port}/",
        "file:///etc/passwd", "gopher://127.0.0.1:{port}/", "//127.0.0.3:{port}/", "http://u:p@127.0.0.1:{port}/",
        "http://example.com/plain", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
    ],
)  # fmt: skip
def test_redirects_to_refused_urls_are_refused(location):
    async def run():
        async with serving(bytes_of(ok(b"secret"))) as (other, secret):
            async with serving(lambda *call: bytes_of(redirect(location.format(other=other, port=port)))(*call)) as (
                port,
                heads,
            ):
                resolve = resolving({"localhost.private": ["127.0.0.1"], "example.com": ["93.184.216.34"]})
                network = FetchClient(allowing(("127.0.0.1", port)), resolve)
                with pytest.raises(UrlRefused) as caught:
                    await network.get(f"http://127.0.0.1:{port}/", role="image")
            assert caught.value.role == "image"
            assert len(heads) == 1
            assert secret == []

    asyncio.run(run())


def test_redirect_chain_to_a_private_address_is_refused():
    """Two allowed redirects, then the metadata service."""

    async def answer(head, reader, writer):
        port = writer.get_extra_info("sockname")[1]
        step = head.split()[1]
        writer.write(redirect(f"http://127.0.0.1:{port}/2" if step == b"/1" else "http://169.254.169.254/latest/"))

    assert isinstance(failing(answer, UrlRefused, path="/1"), UrlRefused)


def test_redirect_without_location_fails():
    assert "no target" in failing(bytes_of(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")).details


# limits


async def silent(head, reader, writer):
    await reader.read()


async def slow_head(head, reader, writer):
    for sign in b"HTTP/1.1 200 OK\r\n" * 1000:
        writer.write(bytes([sign]))
        await asyncio.sleep(0.02)


async def slow_body(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100_000):
        writer.write(b"x")
        await asyncio.sleep(0.02)


def endless(start, repeated):
    """Return an ``answer`` function that writes ``start`` once and ``repeated`` without end."""

    async def answer(head, reader, writer):
        writer.write(start)
        while True:
            writer.write(repeated)
            await writer.drain()

    return answer


BLOCK = b"x" * 65536
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS_BODIES = {
    "until_close": endless(b"HTTP/1.1 200 OK\r\n\r\n", BLOCK),
    "chunks": endless(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n"),
}
ENDLESS_HEADERS = endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000)
ENDLESS_HEADS = {
    "status": endless(b"HTTP/1.1 200 ", BLOCK),
    "headers": ENDLESS_HEADERS,
    "continues": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}


@pytest.mark.parametrize("answer", [silent, slow_head, slow_body])
def test_slow_servers_time_out(answer):
    error = failing(answer, timeout_s=0.3)
    assert error.temporary
    assert "longer than 0.3 s" in error.details


@pytest.mark.parametrize("answer", ENDLESS_BODIES.values(), ids=ENDLESS_BODIES)
def test_endless_bodies_stop_at_the_limit(answer):
    error = failing(answer, TooManyBytes, max_bytes=1_000_000)
    assert error.reason == "too_many_bytes"
    assert error.role == "image"


def test_declared_length_beyond_the_limit_is_refused():
    async def answer(head, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n")
        await reader.read()  # until the client closes the connection; a body is never sent

    failing(answer, TooManyBytes, max_bytes=1_000_000)


def test_body_of_exactly_the_limit_is_accepted():
    found, _ = fetching(bytes_of(ok(b"x" * 1_000_000)), max_bytes=1_000_000)
    assert len(found.data) == 1_000_000
    failing(bytes_of(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1_000_001), TooManyBytes, max_bytes=1_000_000)


@pytest.mark.parametrize("answer", ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
def test_endless_heads_stop_at_16_kib(answer):
    assert "response headers are too large" in failing(answer).details


def test_head_below_the_limit_is_accepted():
    found, _ = fetching(bytes_of(ok(IMAGE, b"X-Long: " + b"a" * 15_000)))
    assert found.data == IMAGE
    failing(bytes_of(ok(IMAGE, b"X-Long: " + b"a" * 17_000)))


def test_body_in_many_tiny_chunks_is_refused():
    assert "too many small chunks" in failing(endless(CHUNKED, b"1\r\nx\r\n" * 1000)).details


def test_endless_chunk_header_is_refused():
    failing(endless(CHUNKED + b"1;", BLOCK))


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"identity, gzip", b"GZIP"])
def test_compressed_responses_are_refused(coding):
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert "compressed" in failing(bytes_of(ok(bomb, b"Content-Encoding: " + coding))).details


def test_identity_encoding_is_accepted():
    assert fetching(bytes_of(ok(IMAGE, b"Content-Encoding: identity")))[0].data == IMAGE


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"nonsense\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshorts",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort",
    ],
)  # fmt: skip
def test_malformed_responses_fail(answer):
    assert failing(bytes_of(answer)).temporary


def test_bytes_beyond_the_declared_length_are_ignored():
    extra = ok(IMAGE) + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
    assert fetching(bytes_of(extra))[0].data == IMAGE


@pytest.mark.parametrize(("status", "temporary"), [(404, False), (401, False), (206, False), (429, True), (503, True)])
def test_error_statuses_fail_as_temporary_or_permanent(status, temporary):
    error = failing(bytes_of(b"HTTP/1.1 %d X\r\nContent-Length: 3\r\n\r\nabc" % status))
    assert str(status) in error.details
    assert error.temporary is temporary


def test_empty_body_fails():
    assert "the response is empty" in failing(bytes_of(ok(b""))).details


def test_cancelled_fetch_closes_the_connection():
    async def run():
        closed = asyncio.Event()

        async def answer(head, reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
            await reader.read()
            closed.set()

        async with serving(answer) as (port, _):
            fetcher = FetchClient(allowing(("127.0.0.1", port)))
            fetch = asyncio.create_task(fetcher.get(f"http://127.0.0.1:{port}/", role="image"))
            await asyncio.sleep(0.1)
            fetch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetch
            await asyncio.wait_for(closed.wait(), 10)

    asyncio.run(run())


# TLS


def over_tls(certified, host, ca=True):
    """Fetch ``https://{host}`` from a server with a certificate for ``certified``.

    Returns:
        The result, and the SNI names that the server received.
    """
    authority = trustme.CA()
    serverside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(serverside)
    names = []
    serverside.sni_callback = lambda link, name, context: names.append(name)
    client_context = ssl.create_default_context()
    if ca:
        authority.configure_trust(client_context)

    async def run():
        async with serving(bytes_of(ok(IMAGE)), ssl=serverside) as (port, heads):
            fetcher = FetchClient(allowing((host, port)), resolving({host: ["127.0.0.1"]}), ssl_context=client_context)
            found = await fetcher.get(f"https://{host}:{port}/", role="image")
            return found, heads[0].split(b"\r\n"), port

    return asyncio.run(run()), names


def test_certificate_is_verified_for_the_host_name():
    (found, head, port), names = over_tls("photos.example", "photos.example")
    assert found.data == IMAGE
    assert names == ["photos.example"]
    assert b"Host: photos.example:%d" % port in head


@pytest.mark.parametrize("trusted", [True, False])
def test_invalid_certificates_are_refused(trusted):
    with pytest.raises(FetchFailed, match="certificate"):
        over_tls("other.example" if trusted else "photos.example", "photos.example", ca=trusted)


def test_plain_http_on_an_https_url_fails():
    async def run():
        async with serving(bytes_of(ok(IMAGE))) as (port, _):
            fetcher = FetchClient(allowing(("127.0.0.1", port), timeout_s=0.5))
            await fetcher.get(f"https://127.0.0.1:{port}/", role="image")

    with pytest.raises(FetchFailed):
        asyncio.run(run())


# webhooks


def posting(answer, url="http://127.0.0.1:{port}/hook", timeout_s=5):
    async def run():
        bodies = []

        async def record(head, reader, writer):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            bodies.append(await reader.readexactly(length))
            await answer(head, reader, writer)

        async with serving(record) as (port, heads):
            fetcher = FetchClient(allowing(("127.0.0.1", port)), resolving({}))
            headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
            status = await fetcher.post(url.format(port=port), b'{"a":1}', headers, timeout_s=timeout_s)
            return status, heads, bodies

    return asyncio.run(run())


@pytest.mark.parametrize("status", [200, 204, 404, 500])
def test_post_sends_its_body_and_returns_the_status(status):
    got, heads, bodies = posting(bytes_of(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert got == status
    assert bodies == [b'{"a":1}']
    assert heads[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: msg_1\r\n" in heads[0]


def test_post_does_not_follow_redirects():
    assert posting(bytes_of(redirect("http://169.254.169.254/")))[0] == 302


def test_post_refuses_the_same_urls_as_get():
    for url in (
        "https://127.0.0.1/hook",
        "https://[::ffff:10.0.0.1]/",
        "https://user@example.com/",
        "http://example.com/",
    ):
        with pytest.raises(UrlRefused) as caught:
            posting(silent, url)
        assert caught.value.role == "webhook"


def test_post_limits_time_and_response_head():
    with pytest.raises(FetchFailed, match=r"longer than 0\.3 s"):
        posting(silent, timeout_s=0.3)
    with pytest.raises(FetchFailed, match="headers"):
        posting(ENDLESS_HEADERS)
    with pytest.raises(FetchFailed):
        posting(bytes_of(b""))


# errors and logs


def test_errors_and_logs_contain_no_part_of_the_url(caplog):
    caplog.set_level(logging.DEBUG, "clearcut")
    texts = []
    path = "/hidden-path/a.png?token=hidden-token#hidden-fragment"
    fetching(bytes_of(ok(IMAGE)), path=path)
    for answer, options in (
        (bytes_of(b"HTTP/1.1 404 hidden-reason\r\nContent-Length: 12\r\n\r\nhidden-body!"), {}),
        (bytes_of(redirect("http://hidden-user:hidden-password@127.0.0.1/hidden-target")), {"kind": UrlRefused}),
        (silent, {"timeout_s": 0.2}),
        (bytes_of(b"hidden-nonsense\r\n\r\n"), {}),
        (ENDLESS_BODIES["until_close"], {"kind": TooManyBytes, "max_bytes": 100_000}),
    ):
        error = failing(answer, path=path, **options)
        texts += [str(error), repr(error), error.details]
    for url in ("https://hidden-user:hidden-password@example.com/", "https://10.0.0.1/hidden-path"):
        with pytest.raises(UrlRefused) as caught:
            asyncio.run(FetchClient(FetchPolicy(), resolving({})).get(url, role="image"))
        texts.append(str(caught.value))
    assert len(caplog.records) >= 1
    text = "\n".join(texts) + "\n".join(record.getMessage() + repr(vars(record)) for record in caplog.records)
    assert "hidden" not in text
