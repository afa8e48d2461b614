"""A fetch over real sockets: where it connects to, what it sends, and what a hostile server can make it do."""

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

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def allowing(*entries, **changes):
    """Rules with these hosts and ports allowed."""
    return FetchPolicy(allow=tuple(HostRule(host, port=port) for host, port in entries), **changes)


def fetching(answer, *, path="/a.png", resolve=None, max_bytes=None, **changes):
    """(what was fetched, the requests' heads), from a server on this machine that is on the allow-list."""

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


def test_an_allowed_host_is_fetched_and_told_no_more_than_needed():
    answer = bytes_of(ok(PICTURE, b"Content-Type: Image/PNG; charset=x", b"Set-Cookie: a=b"))
    found, (head,) = fetching(answer, path="/a b.png".replace(" ", "%20") + "?q=1#frag")
    assert found.data == PICTURE
    assert found.media_type == "image/png"
    assert found.final_url.endswith("/a%20b.png?q=1")
    first, *lines = head.decode().rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "GET /a%20b.png?q=1 HTTP/1.1"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Connection"] == "close"
    assert headers["Host"].startswith("127.0.0.1:")
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


def test_a_body_in_chunks_and_one_that_ends_with_the_connection():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE)
    assert fetching(bytes_of(chunked))[0].data == PICTURE
    assert fetching(bytes_of(b"HTTP/1.0 200 OK\r\n\r\n", PICTURE))[0].data == PICTURE


# where it connects to


def test_a_name_server_that_changes_its_mind_is_asked_once_and_held_to_its_word():
    """The name is 127.0.0.2 when it is checked, which is allowed, and 127.0.0.1 for whoever asks again."""

    async def run(resolve):
        async with serving(bytes_of(ok(PICTURE)), "127.0.0.2") as (port, allowed):
            secret = bytes_of(ok(b"the metadata service"))
            async with serving(secret, "127.0.0.1", port) as (_, forbidden):
                fetcher = FetchClient(allowing(("photos.example", port)), resolve)
                found = await fetcher.get(f"http://photos.example:{port}/a.png", role="image")
                return found, allowed, forbidden

    with name_server(["127.0.0.2"], ["127.0.0.1"]) as (resolve, asked):
        found, allowed, forbidden = asyncio.run(run(resolve))
    assert found.data == PICTURE
    assert asked == ["photos.example"]
    assert len(allowed) == 1
    assert forbidden == []


def test_a_rebinding_name_is_connected_to_where_it_was_checked_and_refused_when_it_turns():
    async def run(resolve):
        network = NoNetwork()
        fetcher = FetchClient(FetchPolicy(), resolve, network)
        with pytest.raises(FetchFailed) as caught:  # the test's network connects to nothing; where to is what counts
            await fetcher.get("https://rebind.example/a.png", role="image")
        assert caught.value.temporary
        assert network.asked == [("93.184.216.34", 443)]
        with pytest.raises(UrlRefused):
            await fetcher.get("https://rebind.example/a.png", role="image")
        assert network.asked == [("93.184.216.34", 443)]

    with name_server(["93.184.216.34"], ["127.0.0.1"]) as (resolve, asked):
        asyncio.run(run(resolve))
    assert len(asked) == 2


def test_a_name_with_one_private_address_among_public_ones_is_not_connected_to():
    async def run(resolve):
        network = NoNetwork()
        with pytest.raises(UrlRefused):
            await FetchClient(FetchPolicy(), resolve, network).get("https://mixed.example/", role="image")
        assert network.asked == []

    with name_server(["93.184.216.34", "10.0.0.1"]) as (resolve, _):
        asyncio.run(run(resolve))


def test_names_that_take_their_time_keep_no_thread_of_the_services(monkeypatch):
    """A stranger can have as many names as he likes, and name servers that never answer."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def slow(*_: object, **__: object) -> list[object]:
        begun.release()
        gate.wait(30)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async def run():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        fetcher = FetchClient(FetchPolicy())
        looking = [
            asyncio.create_task(fetcher.check(f"https://a{number}.example/", role="image")) for number in range(8)
        ]
        for _ in looking:
            while not begun.acquire(blocking=False):  # noqa: ASYNC110 - counted on other threads
                await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            await asyncio.to_thread(int)
        gate.set()
        return await asyncio.gather(*looking, return_exceptions=True)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        assert {type(each) for each in asyncio.run(asyncio.wait_for(run(), 25))} == {UrlRefused}
    finally:
        gate.set()


def test_a_dead_address_is_followed_by_the_next_and_never_by_more_than_four():
    async def run():
        with socket.create_server(("127.0.0.2", 0)) as taken:
            port = taken.getsockname()[1]
        async with serving(bytes_of(ok(PICTURE)), "127.0.0.1", port):
            fetcher = FetchClient(
                allowing(("two.example", port)), resolving({"two.example": ["127.0.0.2", "127.0.0.1"]})
            )
            assert (await fetcher.get(f"http://two.example:{port}/", role="image")).data == PICTURE
        network = NoNetwork()
        many = [f"93.184.216.{last}" for last in range(1, 40)]
        with pytest.raises(FetchFailed):
            await FetchClient(FetchPolicy(), resolving({"many.example": many}), network).get(
                "https://many.example/", role="image"
            )
        assert [host for host, _ in network.asked] == many[:4]

    asyncio.run(run())


def test_the_environments_proxies_are_not_asked(monkeypatch):
    async def run():
        async with serving(bytes_of(ok(b"from the proxy"))) as (proxy, spoken):
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
                monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy}")
            monkeypatch.setenv("NO_PROXY", "")
            async with serving(bytes_of(ok(PICTURE))) as (port, heads):
                fetcher = FetchClient(allowing(("127.0.0.1", port)))
                found = await fetcher.get(f"http://127.0.0.1:{port}/a", role="image")
            return found, spoken, heads

    found, spoken, heads = asyncio.run(run())
    assert found.data == PICTURE
    assert spoken == []
    assert heads[0].startswith(b"GET /a HTTP/1.1")


# redirects


def test_redirects_are_followed_three_times_and_each_is_checked():
    async def answer(head, reader, writer):
        number = int(head.split()[1][1:])
        port = writer.get_extra_info("sockname")[1]
        status = (301, 302, 303, 307, 308)[number % 5]
        writer.write(redirect(f"http://127.0.0.1:{port}/{number - 1}", status) if number else ok(PICTURE))

    for hops in (1, 2, 3):
        found, heads = fetching(answer, path=f"/{hops}")
        assert found.data == PICTURE
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
def test_redirects_to_what_may_not_be_fetched_are_refused(location):
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


def test_a_chain_of_redirects_that_ends_inside():
    """Two public-looking hops, then the metadata service."""

    async def answer(head, reader, writer):
        port = writer.get_extra_info("sockname")[1]
        step = head.split()[1]
        writer.write(redirect(f"http://127.0.0.1:{port}/2" if step == b"/1" else "http://169.254.169.254/latest/"))

    assert isinstance(failing(answer, UrlRefused, path="/1"), UrlRefused)


def test_a_redirect_to_nowhere():
    assert "no target" in failing(bytes_of(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")).details


# what a server may cost


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


async def endless(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_chunks(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def crumbs(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n" * 1000)
        await writer.drain()


async def endless_chunk_extension(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_status(head, reader, writer):
    writer.write(b"HTTP/1.1 200 ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_headers(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-A: b\r\n" * 1000)
        await writer.drain()


async def endless_continues(head, reader, writer):
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()


@pytest.mark.parametrize("answer", [silent, slow_head, slow_body])
def test_slow_servers_have_their_time(answer):
    error = failing(answer, timeout_s=0.3)
    assert error.temporary
    assert "longer than 0.3 s" in error.details


@pytest.mark.parametrize("answer", [endless, endless_chunks])
def test_endless_bodies_end_at_the_cap(answer):
    error = failing(answer, TooManyBytes, max_bytes=1_000_000)
    assert error.reason == "too_many_bytes"
    assert error.role == "image"


def test_a_declared_length_beyond_the_cap_is_refused_unread():
    async def answer(head, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n")
        await reader.read()  # until we hang up; a body is never sent

    failing(answer, TooManyBytes, max_bytes=1_000_000)


def test_the_cap_itself_is_taken():
    found, _ = fetching(bytes_of(ok(b"x" * 1_000_000)), max_bytes=1_000_000)
    assert len(found.data) == 1_000_000
    failing(bytes_of(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1_000_001), TooManyBytes, max_bytes=1_000_000)


@pytest.mark.parametrize("answer", [endless_status, endless_headers, endless_continues])
def test_endless_heads_end_at_sixteen_kilobytes(answer):
    assert "response headers are too large" in failing(answer).details


def test_a_head_just_below_the_cap_is_taken():
    found, _ = fetching(bytes_of(ok(PICTURE, b"X-Long: " + b"a" * 15_000)))
    assert found.data == PICTURE
    failing(bytes_of(ok(PICTURE, b"X-Long: " + b"a" * 17_000)))


def test_crumbs_are_not_eaten():
    assert "too many small chunks" in failing(crumbs).details


def test_a_chunk_header_without_an_end():
    failing(endless_chunk_extension)


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"identity, gzip", b"GZIP"])
def test_compressed_answers_are_refused_not_unpacked(coding):
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert "compressed" in failing(bytes_of(ok(bomb, b"Content-Encoding: " + coding))).details


def test_an_unasked_identity_is_fine():
    assert fetching(bytes_of(ok(PICTURE, b"Content-Encoding: identity")))[0].data == PICTURE


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
def test_broken_answers_fail(answer):
    assert failing(bytes_of(answer)).temporary


def test_bytes_beyond_the_declared_length_are_not_taken():
    extra = ok(PICTURE) + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
    assert fetching(bytes_of(extra))[0].data == PICTURE


@pytest.mark.parametrize(("status", "temporary"), [(404, False), (401, False), (206, False), (429, True), (503, True)])
def test_other_statuses_fail_and_say_whether_to_come_again(status, temporary):
    error = failing(bytes_of(b"HTTP/1.1 %d X\r\nContent-Length: 3\r\n\r\nabc" % status))
    assert str(status) in error.details
    assert error.temporary is temporary


def test_nothing_is_no_picture():
    assert "the response is empty" in failing(bytes_of(ok(b""))).details


def test_the_connection_is_closed_whatever_happens():
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


def over_tls(certified, asked, ca=True):
    """Fetch ``https://{asked}`` from a server whose certificate says ``certified``; (fetched, SNI names)."""
    authority = trustme.CA()
    serverside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(serverside)
    names = []
    serverside.sni_callback = lambda link, name, context: names.append(name)
    ours = ssl.create_default_context()
    if ca:
        authority.configure_trust(ours)

    async def run():
        async with serving(bytes_of(ok(PICTURE)), ssl=serverside) as (port, heads):
            fetcher = FetchClient(allowing((asked, port)), resolving({asked: ["127.0.0.1"]}), ssl_context=ours)
            found = await fetcher.get(f"https://{asked}:{port}/", role="image")
            return found, heads[0].split(b"\r\n"), port

    return asyncio.run(run()), names


def test_the_connection_is_pinned_and_the_certificate_is_still_the_names():
    (found, head, port), names = over_tls("photos.example", "photos.example")
    assert found.data == PICTURE
    assert names == ["photos.example"]
    assert b"Host: photos.example:%d" % port in head


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_for_another_name_or_from_nobody_is_refused(trusted):
    with pytest.raises(FetchFailed, match="certificate"):
        over_tls("other.example" if trusted else "photos.example", "photos.example", ca=trusted)


def test_plain_http_behind_https_fails():
    async def run():
        async with serving(bytes_of(ok(PICTURE))) as (port, _):
            fetcher = FetchClient(allowing(("127.0.0.1", port), timeout_s=0.5))
            await fetcher.get(f"https://127.0.0.1:{port}/", role="image")

    with pytest.raises(FetchFailed):
        asyncio.run(run())


# posting


def posting(answer, url="http://127.0.0.1:{port}/hook", timeout_s=5):
    async def run():
        bodies = []

        async def noted(head, reader, writer):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            bodies.append(await reader.readexactly(length))
            await answer(head, reader, writer)

        async with serving(noted) as (port, heads):
            fetcher = FetchClient(allowing(("127.0.0.1", port)), resolving({}))
            headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
            status = await fetcher.post(url.format(port=port), b'{"a":1}', headers, timeout_s=timeout_s)
            return status, heads, bodies

    return asyncio.run(run())


@pytest.mark.parametrize("status", [200, 204, 404, 500])
def test_a_post_sends_its_body_and_answers_the_status(status):
    got, heads, bodies = posting(bytes_of(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert got == status
    assert bodies == [b'{"a":1}']
    assert heads[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: msg_1\r\n" in heads[0]


def test_a_post_follows_no_redirect():
    assert posting(bytes_of(redirect("http://169.254.169.254/")))[0] == 302


def test_a_post_is_guarded_as_a_get_is():
    for url in (
        "https://127.0.0.1/hook",
        "https://[::ffff:10.0.0.1]/",
        "https://user@example.com/",
        "http://example.com/",
    ):
        with pytest.raises(UrlRefused) as caught:
            posting(silent, url)
        assert caught.value.role == "webhook"


def test_a_post_has_its_time_and_its_head():
    with pytest.raises(FetchFailed, match=r"longer than 0\.3 s"):
        posting(silent, timeout_s=0.3)
    with pytest.raises(FetchFailed, match="headers"):
        posting(endless_headers)
    with pytest.raises(FetchFailed):
        posting(bytes_of(b""))


# what is told


def test_no_secret_of_an_address_is_in_an_error_or_in_the_log(caplog):
    caplog.set_level(logging.DEBUG, "clearcut")
    said = []
    path = "/hidden-path/a.png?token=hidden-token#hidden-fragment"
    fetching(bytes_of(ok(PICTURE)), path=path)
    for answer, options in (
        (bytes_of(b"HTTP/1.1 404 hidden-reason\r\nContent-Length: 12\r\n\r\nhidden-body!"), {}),
        (bytes_of(redirect("http://hidden-user:hidden-password@127.0.0.1/hidden-target")), {"kind": UrlRefused}),
        (silent, {"timeout_s": 0.2}),
        (bytes_of(b"hidden-nonsense\r\n\r\n"), {}),
        (endless, {"kind": TooManyBytes, "max_bytes": 100_000}),
    ):
        error = failing(answer, path=path, **options)
        said += [str(error), repr(error), error.details]
    for url in ("https://hidden-user:hidden-password@example.com/", "https://10.0.0.1/hidden-path"):
        with pytest.raises(UrlRefused) as caught:
            asyncio.run(FetchClient(FetchPolicy(), resolving({})).get(url, role="image"))
        said.append(str(caught.value))
    assert len(caplog.records) >= 1
    text = "\n".join(said) + "\n".join(record.getMessage() + repr(vars(record)) for record in caplog.records)
    assert "hidden" not in text
