"""What may be reached: the table of addresses and tricks, all refused, and the grammar that the rest is read by."""

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearcut.environment import load_settings
from clearcut.errors import FetchFailed, StartupError, UrlRefused
from clearcut.fetch.client import FetchClient
from clearcut.fetch.ip_ranges import embedded_ipv4, is_public
from clearcut.fetch.policy import FetchPolicy, fetch_policy
from clearcut.fetch.url import parse_url, resolve_redirect
from tests.support.http_servers import NoNetwork, resolving

PRIVATE_LITERALS = [
    # this host, this network, private networks, shared space, link-local, and the clouds' metadata
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.1.2.3",
    "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.254", "192.0.0.1", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "168.63.129.16",
    # multicast, reserved, broadcast
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "[::]", "[::1]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[ff0e::1]", "[100::1]",
    "[2001:db8::1]", "[3fff::1]", "[5f00::1]", "[3ffe::1]", "[2001:2::1]", "[2001:20::1]", "[4000::1]",
    # IPv4 in IPv6: mapped, compatible, 6to4, NAT64 (both prefixes), Teredo, ISATAP
    "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::ffff:0:10.0.0.1]", "[::127.0.0.1]", "[::8.8.8.8]",
    "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2002:808:808::1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::10.0.0.1]", "[64:ff9b:1::808:808]", "[2001:0:7f00:1::1]", "[2001:0:808:808:0:0:80ff:fffe]",
    "[2606:4700::5efe:10.0.0.1]", "[2606:4700::200:5efe:127.0.0.1]",
]  # fmt: skip

TRICKS = [
    # IPv4 in the notations that inet_aton takes
    "https://2130706433/a", "https://0x7f000001/a", "https://017700000001/a", "https://127.1/a", "https://127.0.1/a",
    "https://0x7f.0.0.1/a", "https://0177.0.0.1/a", "https://127.0.0.01/a", "https://127.0.0.0x1/a", "https://0/a",
    "https://10.0.0.1./a", "https://127.0.0.1.0x/a", "https://1.2.3.4.5/a", "https://256.1.1.1/a", "https://0x/a",
    # international digits, dots and letters that become ASCII
    "https://１２７.０.０.１/a", "https://127。0。0。1/a", "https://①②⑦.0.0.1/a", "https://℀.example/a",
    # two readings of one text
    "https://user@example.com/a", "https://user:pass@example.com/a", "https://example.com@127.0.0.1/a",
    "https://127.0.0.1#@example.com/a", "https://example.com\\@127.0.0.1/a", "https:\\\\example.com/a",
    "https://exa mple.com/a", "https://example.com\t.evil/a", "https://127.0.0.1\n/a", "https://example.com/a\r\nX: 1",
    "\x00https://example.com/a", " https://example.com/a", "https://example.com%2f@127.0.0.1/a", "https://127.0.0.%31/a",
    "https://example%00.com/a", "https://%6c%6f%63%61%6c/a", "https://[fe80::1%25eth0]/a", "https://[fe80::1%eth0]/a",
    "https://[::1/a", "https://::1/a", "https://[127.0.0.1]/a", "https://[v1.fe80]/a", "https://[::1]evil/a",
    "https:///a", "https://", "https:example.com", "//example.com/a", "example.com/a", "", "https://.example.com/a",
    "https://example..com/a", "https://example.com../a", "https://-a.example/a", "https://" + "a" * 64 + ".example/a",
    "https://" + "a." * 130 + "example/a", "https://example.com/" + "a" * 8000,
    "https://\u202eexample.com/a", "https://exam\u200dple.com/\u200b",
    # other schemes
    "file:///etc/passwd", "ftp://example.com/a", "gopher://example.com/a", "data:image/png;base64,AAAA",
    "jar:https://example.com!/a", "http://example.com/a", "HTTP://example.com/a", "httpsx://example.com/a",
    # ports that speak something else
    "https://example.com:22/a", "https://example.com:6379/a", "https://example.com:0/a", "https://example.com:65536/a",
    "https://example.com:/a", "https://example.com:+443/a", "https://example.com:４４３/a", "https://example.com:443:80/a",
]  # fmt: skip

PUBLIC = ["93.184.216.34", "2606:4700::6810:1"]


def refused(url, rules=None, answers=None):
    """Ask the fetcher for it, with a network that fails the test when it is used."""

    async def ask():
        network = NoNetwork()
        fetcher = FetchClient(rules or FetchPolicy(), resolving(answers or {}, otherwise=PUBLIC), network)
        with pytest.raises(UrlRefused) as caught:
            await fetcher.get(url, field="image_url")
        assert caught.value.field == "image_url"
        assert "'image_url'" in caught.value.details
        assert network.asked == []
        with pytest.raises(UrlRefused):
            await fetcher.check(url, field="image_url")

    asyncio.run(ask())


def test_the_table_is_long_enough():
    assert len({*PRIVATE_LITERALS, *TRICKS}) >= 100


@pytest.mark.parametrize("host", PRIVATE_LITERALS)
def test_private_addresses_are_refused(host):
    refused(f"https://{host}/a.png")


@pytest.mark.parametrize("host", PRIVATE_LITERALS)
def test_names_of_private_addresses_are_refused_also_beside_public_ones(host):
    bare = host.strip("[]")
    refused("https://photos.example/a.png", answers={"photos.example": [bare]})
    refused("https://photos.example/a.png", answers={"photos.example": [*PUBLIC, bare]})


@pytest.mark.parametrize("url", TRICKS, ids=lambda url: ascii(url)[:60])
def test_tricks_are_refused(url):
    refused(url)


@pytest.mark.parametrize(
    "url",
    ["https://localhost/a", "https://LOCALHOST./a", "https://localhost.localdomain:8443/a", "https://localhost:443"],
)
def test_the_systems_own_resolver_says_what_localhost_is(url):
    """No fake: the name is resolved as in service, and nothing is connected to."""

    async def ask():
        network = NoNetwork()
        with pytest.raises((UrlRefused, FetchFailed)):
            await FetchClient(FetchPolicy(), None, network).get(url, field="image_url")
        assert network.asked == []

    asyncio.run(ask())


def test_a_private_address_and_a_name_that_does_not_exist_are_told_apart_by_nobody():
    said = set()

    async def ask(answers):
        with pytest.raises(UrlRefused) as caught:
            await FetchClient(FetchPolicy(), resolving(answers), NoNetwork()).check(
                "https://a.example/", field="image_url"
            )
        said.add(caught.value.details)

    for answers in (
        {},
        {"a.example": ["10.0.0.1"]},
        {"a.example": []},
        {"a.example": ["fe80::1%eth0"]},
        {"a.example": [*PUBLIC, "fe80::1%eth0"]},
    ):
        asyncio.run(ask(answers))
    assert len(said) == 1


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://Example.COM", "example.com", 443, "/"),
        ("https://example.com.:8443/a/../b?x=1#frag", "example.com", 8443, "/a/../b?x=1"),
        ("https://bücher.example/ä ".strip(), "xn--bcher-kva.example", 443, "/%C3%A4"),
        ("https://example.com?x=%20y", "example.com", 443, "/?x=%20y"),
        ("https://example.com//double", "example.com", 443, "//double"),
        ("https://[2606:4700:0:0::6810:1]:443/a", "2606:4700::6810:1", 443, "/a"),
        ("https://93.184.216.34/a", "93.184.216.34", 443, "/a"),
        ("https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/a", "localhost", 443, "/a"),
        ("https://a_b.example/@user", "a_b.example", 443, "/@user"),
    ],
)
def test_what_is_plain_is_read(text, host, port, target):
    address = parse_url(text, "image_url")
    assert (address.host, address.port, address.target) == (host, port, target)


def test_a_redirect_is_read_by_the_same_grammar():
    base = parse_url("https://example.com/a/b?x", "image_url")
    assert str(resolve_redirect(base, "../c", "image_url")) == "https://example.com/c"
    assert str(resolve_redirect(base, "//other.example/c", "image_url")) == "https://other.example/c"
    for location in (
        "http://user@other.example/",
        "file:///etc/passwd",
        "https://0x7f.1/",
        "https://a\\b/",
        "//a\t.b/",
    ):
        with pytest.raises(UrlRefused):
            resolve_redirect(base, location, "image_url")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user@example.com/", "without a user name"), ("https://a\\b/", "backslashes"),
        ("https://exam\u200dple.com/", "control characters"), ("https://0x7f.1/", "four decimal numbers"),
        ("ftp://example.com/", "beginning with https://"), ("https://:443/", "with a host name"),
        ("https://example.com:x/", "the port"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_write_instead(url, words):
    with pytest.raises(UrlRefused) as caught:
        parse_url(url, "image_url")
    assert words in caught.value.details
    assert caught.value.details.startswith("Invalid value for 'image_url'. Expected: a URL such as https://")


# the lists


def rules(**environ):
    return fetch_policy(load_settings({f"CLEARCUT_FETCH_{name.upper()}": value for name, value in environ.items()}))


def verdict(given, url, *addresses):
    address = parse_url(url, "image_url")
    parts = (address.scheme, address.host, address.port)
    return given.refusal(*parts, [ipaddress.ip_address(each) for each in addresses]) is None


def test_an_allowed_host_may_be_private_plain_and_on_its_own_port():
    given = rules(allow="photos.intranet:9000, .cdn.intranet,10.1.0.0/16,127.0.0.1:8123,[fd00::1]:8080")
    assert verdict(given, "http://photos.intranet:9000/a", "10.0.0.1")
    assert not verdict(given, "http://photos.intranet/a", "10.0.0.1")
    assert not verdict(given, "https://photos.intranet.evil.example:9000/a", "10.0.0.1")
    assert verdict(given, "http://a.cdn.intranet/a", "192.168.0.1")
    assert not verdict(given, "http://cdn.intranet/a", "192.168.0.1")
    assert not verdict(given, "http://a.cdn.intranet:9000/a", "192.168.0.1")
    assert verdict(given, "http://anything.example/a", "10.1.2.3")
    assert not verdict(given, "http://anything.example/a", "10.1.2.3", "10.2.0.1")
    assert not verdict(given, "http://anything.example:9000/a", "10.1.2.3")
    assert verdict(given, "http://127.0.0.1:8123/a", "127.0.0.1")
    assert not verdict(given, "http://127.0.0.1:8124/a", "127.0.0.1")
    assert not verdict(given, "http://127.0.0.1/a", "127.0.0.1")
    assert verdict(given, "http://[fd00::1]:8080/a", "fd00::1")
    assert verdict(given, "https://example.com/a", *PUBLIC)
    assert not verdict(given, "http://example.com/a", *PUBLIC)


def test_what_is_denied_stays_denied():
    given = rules(allow="10.0.0.0/8,inside.example", deny="10.0.0.5,.evil.example,inside.example,8.8.0.0/16", http="on")
    assert verdict(given, "http://a.example/", "10.0.0.4")
    assert not verdict(given, "http://a.example/", "10.0.0.5")
    assert not verdict(given, "https://inside.example/", "93.184.216.34")
    assert not verdict(given, "https://a.evil.example:8443/", "93.184.216.34")
    assert verdict(given, "http://evil.example/", "93.184.216.34")
    assert not verdict(given, "https://b.example/", "64:ff9b::808:808")
    assert not verdict(given, "https://b.example/", "8.8.8.8", "93.184.216.34")


def test_a_star_denies_all_but_the_allowed():
    given = rules(allow="photos.example", deny="*")
    assert verdict(given, "https://photos.example/", "93.184.216.34")
    assert not verdict(given, "https://example.com/", "93.184.216.34")


@pytest.mark.parametrize("word", ["10.0.0.1/8", "http://a", "a/b", "a b", "*", "a:99999", "u@a", "[::1", "1.2.3", "."])
def test_a_list_that_cannot_be_read_refuses_to_start(word):
    with pytest.raises(StartupError, match="CLEARCUT_FETCH_ALLOW"):
        rules(allow=f"good.example,{word}")


# the ranges, against the library's own knowledge

IPV4 = st.ip_addresses(v=4)
PREFIXES = ["::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "2606:4700::5efe:0:0", "2606:4700::200:5efe:0:0"]


def library_says(address):
    """By ``ipaddress``, as far as it knows: releases differ in what they count as special."""
    if address.version == 6 and address.ipv4_mapped:
        return library_says(address.ipv4_mapped)
    inner = list(embedded_ipv4(address)) if address.version == 6 else []
    return address.is_global and not address.is_multicast and all(library_says(each) for each in inner)


@given(st.one_of(IPV4, st.ip_addresses(v=6), st.ip_addresses(v=6, network="2000::/3")))
def test_nothing_is_public_that_the_library_calls_special(address):
    assert library_says(address) or not is_public(address)


@given(IPV4)
def test_ipv4_agrees_with_the_library(address):
    special = [ipaddress.ip_network("192.88.99.0/24"), ipaddress.ip_network("168.63.129.16/32")]
    special.append(ipaddress.ip_network("192.0.0.0/24"))
    if not any(address in network for network in special):
        assert is_public(address) == library_says(address)


@given(st.ip_addresses(v=6, network="2000::/3"))
def test_ipv6_unicast_agrees_with_the_library(address):
    special = [ipaddress.ip_network(each) for each in ("2001::/23", "2002::/16", "3ffe::/16", "3fff::/20")]
    if not any(address in network for network in special):
        assert is_public(address) == library_says(address)


@given(IPV4, st.sampled_from(PREFIXES))
def test_an_ipv4_address_inside_an_ipv6_one_is_found_and_decides(inner, prefix):
    outer = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner))
    assert inner in embedded_ipv4(outer)
    if not is_public(inner):
        assert not is_public(outer)
    if prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(outer) == is_public(inner)


@given(IPV4, IPV4)
def test_teredo_and_6to4_are_unwrapped_and_never_public(server, client):
    teredo = ipaddress.IPv6Address((0x20010000 << 96) | (int(server) << 64) | (~int(client) & 0xFFFF_FFFF))
    sixtofour = ipaddress.IPv6Address((0x2002 << 112) | (int(server) << 80) | 1)
    assert {server, client} <= set(embedded_ipv4(teredo))
    assert server in embedded_ipv4(sixtofour)
    assert not is_public(teredo)
    assert not is_public(sixtofour)
