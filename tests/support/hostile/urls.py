"""Private IP addresses, and URLs that disguise a host or are malformed. The service must refuse all of them."""

from __future__ import annotations

PRIVATE_LITERALS = [
    # this host, this network, private networks, shared address space, link-local, metadata services of clouds
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
    # IPv4 notations that inet_aton accepts
    "https://2130706433/a", "https://0x7f000001/a", "https://017700000001/a", "https://127.1/a", "https://127.0.1/a",
    "https://0x7f.0.0.1/a", "https://0177.0.0.1/a", "https://127.0.0.01/a", "https://127.0.0.0x1/a", "https://0/a",
    "https://10.0.0.1./a", "https://127.0.0.1.0x/a", "https://1.2.3.4.5/a", "https://256.1.1.1/a", "https://0x/a",
    # international digits, dots and letters that normalize to ASCII
    "https://１２７.０.０.１/a", "https://127。0。0。1/a", "https://①②⑦.0.0.1/a", "https://℀.example/a",
    # URLs that two parsers read differently
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
    # ports of other protocols, and invalid ports
    "https://example.com:22/a", "https://example.com:6379/a", "https://example.com:0/a", "https://example.com:65536/a",
    "https://example.com:/a", "https://example.com:+443/a", "https://example.com:４４３/a", "https://example.com:443:80/a",
]  # fmt: skip
