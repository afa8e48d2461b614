"""The fetch policy and the URL grammar: refused addresses, ambiguous URLs, allow-list and deny-list."""

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
from tests.support.hostile.urls import PRIVATE_LITERALS, TRICKS
from tests.support.http_servers import NoNetwork, resolving

PUBLIC = ["93.184.216.34", "2606:4700::6810:1"]


def refused(url, policy=None, addresses=None):
    """Check that the client refuses the URL without using the network."""

    async def fetch():
        network = NoNetwork()
        fetcher = FetchClient(policy or FetchPolicy(), resolving(addresses or {}, otherwise=PUBLIC), network)
        with pytest.raises(UrlRefused) as caught:
            await fetcher.get(url, role="image")
        assert caught.value.role == "image"
        assert "'image_url'" in caught.value.describe({"image": "image_url"})
        assert network.attempts == []
        with pytest.raises(UrlRefused):
            await fetcher.check(url, role="image")

    asyncio.run(fetch())


def test_table_has_at_least_100_urls():
    assert len({*PRIVATE_LITERALS, *TRICKS}) >= 100


@pytest.mark.parametrize("host", PRIVATE_LITERALS)
def test_private_addresses_are_refused(host):
    refused(f"https://{host}/a.png")


@pytest.mark.parametrize("host", PRIVATE_LITERALS)
def test_names_with_private_addresses_are_refused(host):
    bare = host.strip("[]")
    refused("https://photos.example/a.png", addresses={"photos.example": [bare]})
    refused("https://photos.example/a.png", addresses={"photos.example": [*PUBLIC, bare]})


@pytest.mark.parametrize("url", TRICKS, ids=lambda url: ascii(url)[:60])
def test_ambiguous_urls_are_refused(url):
    refused(url)


@pytest.mark.parametrize(
    "url",
    ["https://localhost/a", "https://LOCALHOST./a", "https://localhost.localdomain:8443/a", "https://localhost:443"],
)
def test_localhost_is_refused_with_the_real_resolver(url):
    """The real resolver resolves the name; the network is fake."""

    async def fetch():
        network = NoNetwork()
        with pytest.raises((UrlRefused, FetchFailed)):
            await FetchClient(FetchPolicy(), None, network).get(url, role="image")
        assert network.attempts == []

    asyncio.run(fetch())


def test_private_and_unknown_hosts_get_the_same_error():
    details = set()

    async def check(addresses):
        with pytest.raises(UrlRefused) as caught:
            await FetchClient(FetchPolicy(), resolving(addresses), NoNetwork()).check(
                "https://a.example/", role="image"
            )
        details.add(caught.value.details)

    for addresses in (
        {},
        {"a.example": ["10.0.0.1"]},
        {"a.example": []},
        {"a.example": ["fe80::1%eth0"]},
        {"a.example": [*PUBLIC, "fe80::1%eth0"]},
    ):
        asyncio.run(check(addresses))
    assert len(details) == 1


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
def test_valid_urls_are_parsed(text, host, port, target):
    address = parse_url(text, "image")
    assert (address.host, address.port, address.target) == (host, port, target)


def test_redirects_are_parsed_like_urls():
    base = parse_url("https://example.com/a/b?x", "image")
    assert str(resolve_redirect(base, "../c", "image")) == "https://example.com/c"
    assert str(resolve_redirect(base, "//other.example/c", "image")) == "https://other.example/c"
    assert str(resolve_redirect(base, "/my photo (1).jpg", "image")) == "https://example.com/my%20photo%20(1).jpg"
    assert str(resolve_redirect(base, " https://other.example/a b?c d=e f ", "image")) == (
        "https://other.example/a%20b?c%20d=e%20f"
    )
    assert str(resolve_redirect(base, "Bücher 1/ä.jpg", "image")) == "https://example.com/a/B%C3%BCcher%201/%C3%A4.jpg"
    assert str(resolve_redirect(base, "/a%20b c", "image")) == "https://example.com/a%20b%20c"
    for location in (
        "https://a b/c",
        "https://other.example :443/c",
        "/a\nb",
        "/a\x7fb",
        "http://user@other.example/",
        "file:///etc/passwd",
        "https://0x7f.1/",
        "https://a\\b/",
        "//a\t.b/",
    ):
        with pytest.raises(UrlRefused):
            resolve_redirect(base, location, "image")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user@example.com/", "without a user name"), ("https://a\\b/", "backslashes"),
        ("https://exam\u200dple.com/", "control characters"), ("https://0x7f.1/", "four decimal numbers"),
        ("ftp://example.com/", "a URL that begins with https://"), ("https://:443/", "with a host name"),
        ("https://example.com:x/", "the port"),
    ],
)  # fmt: skip
def test_refusal_describes_the_expected_url(url, words):
    with pytest.raises(UrlRefused) as caught:
        parse_url(url, "image")
    assert words in caught.value.details
    assert caught.value.details.startswith("Invalid value for 'image'. Expected: a URL ")


# allow-list and deny-list


def policy_of(**environ):
    return fetch_policy(load_settings({f"CLEARCUT_FETCH_{name.upper()}": value for name, value in environ.items()}))


def allows(policy, url, *addresses):
    address = parse_url(url, "image")
    parts = (address.scheme, address.host, address.port)
    return policy.refusal(*parts, [ipaddress.ip_address(each) for each in addresses]) is None


def test_allow_list_exempts_hosts_and_networks():
    policy = policy_of(allow="photos.intranet:9000, .cdn.intranet,10.1.0.0/16,127.0.0.1:8123,[fd00::1]:8080")
    assert allows(policy, "http://photos.intranet:9000/a", "10.0.0.1")
    assert not allows(policy, "http://photos.intranet/a", "10.0.0.1")
    assert not allows(policy, "https://photos.intranet.evil.example:9000/a", "10.0.0.1")
    assert allows(policy, "http://a.cdn.intranet/a", "192.168.0.1")
    assert not allows(policy, "http://cdn.intranet/a", "192.168.0.1")
    assert not allows(policy, "http://a.cdn.intranet:9000/a", "192.168.0.1")
    assert allows(policy, "http://anything.example/a", "10.1.2.3")
    assert not allows(policy, "http://anything.example/a", "10.1.2.3", "10.2.0.1")
    assert not allows(policy, "http://anything.example:9000/a", "10.1.2.3")
    assert allows(policy, "http://127.0.0.1:8123/a", "127.0.0.1")
    assert not allows(policy, "http://127.0.0.1:8124/a", "127.0.0.1")
    assert not allows(policy, "http://127.0.0.1/a", "127.0.0.1")
    assert allows(policy, "http://[fd00::1]:8080/a", "fd00::1")
    assert allows(policy, "https://example.com/a", *PUBLIC)
    assert not allows(policy, "http://example.com/a", *PUBLIC)


def test_deny_list_overrides_the_allow_list():
    policy = policy_of(
        allow="10.0.0.0/8,inside.example", deny="10.0.0.5,.evil.example,inside.example,8.8.0.0/16", http="on"
    )
    assert allows(policy, "http://a.example/", "10.0.0.4")
    assert not allows(policy, "http://a.example/", "10.0.0.5")
    assert not allows(policy, "https://inside.example/", "93.184.216.34")
    assert not allows(policy, "https://a.evil.example:8443/", "93.184.216.34")
    assert allows(policy, "http://evil.example/", "93.184.216.34")
    assert not allows(policy, "https://b.example/", "64:ff9b::808:808")
    assert not allows(policy, "https://b.example/", "8.8.8.8", "93.184.216.34")


def test_star_denies_all_hosts_not_on_the_allow_list():
    policy = policy_of(allow="photos.example", deny="*")
    assert allows(policy, "https://photos.example/", "93.184.216.34")
    assert not allows(policy, "https://example.com/", "93.184.216.34")


@pytest.mark.parametrize("word", ["10.0.0.1/8", "http://a", "a/b", "a b", "*", "a:99999", "u@a", "[::1", "1.2.3", "."])
def test_invalid_list_entry_prevents_the_start(word):
    with pytest.raises(StartupError, match="CLEARCUT_FETCH_ALLOW"):
        policy_of(allow=f"good.example,{word}")


# public addresses, compared with the ipaddress module

IPV4 = st.ip_addresses(v=4)
PREFIXES = ["::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "2606:4700::5efe:0:0", "2606:4700::200:5efe:0:0"]


def public_by_ipaddress(address):
    """Return whether ``ipaddress`` counts the address as public. Python releases differ in this."""
    if address.version == 6 and address.ipv4_mapped:
        return public_by_ipaddress(address.ipv4_mapped)
    inner = list(embedded_ipv4(address)) if address.version == 6 else []
    return address.is_global and not address.is_multicast and all(public_by_ipaddress(each) for each in inner)


@given(st.one_of(IPV4, st.ip_addresses(v=6), st.ip_addresses(v=6, network="2000::/3")))
def test_addresses_special_to_ipaddress_are_not_public(address):
    assert public_by_ipaddress(address) or not is_public(address)


@given(IPV4)
def test_ipv4_agrees_with_ipaddress(address):
    special = [ipaddress.ip_network("192.88.99.0/24"), ipaddress.ip_network("168.63.129.16/32")]
    special.append(ipaddress.ip_network("192.0.0.0/24"))
    if not any(address in network for network in special):
        assert is_public(address) == public_by_ipaddress(address)


@given(st.ip_addresses(v=6, network="2000::/3"))
def test_ipv6_unicast_agrees_with_ipaddress(address):
    special = [ipaddress.ip_network(each) for each in ("2001::/23", "2002::/16", "3ffe::/16", "3fff::/20")]
    if not any(address in network for network in special):
        assert is_public(address) == public_by_ipaddress(address)


@given(IPV4, st.sampled_from(PREFIXES))
def test_embedded_ipv4_address_decides(inner, prefix):
    outer = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner))
    assert inner in embedded_ipv4(outer)
    if not is_public(inner):
        assert not is_public(outer)
    if prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(outer) == is_public(inner)


@given(IPV4, IPV4)
def test_teredo_and_6to4_addresses_are_not_public(server, client):
    teredo = ipaddress.IPv6Address((0x20010000 << 96) | (int(server) << 64) | (~int(client) & 0xFFFF_FFFF))
    sixtofour = ipaddress.IPv6Address((0x2002 << 112) | (int(server) << 80) | 1)
    assert {server, client} <= set(embedded_ipv4(teredo))
    assert server in embedded_ipv4(sixtofour)
    assert not is_public(teredo)
    assert not is_public(sixtofour)
