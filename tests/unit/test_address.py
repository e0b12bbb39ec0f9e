"""Which URLs and addresses may be fetched from."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.address import WebAddress, checked_redirect, checked_url, is_public
from aigen_bridge.domain.errors import PermanentError

FROM = WebAddress("https", "cdn.example.com", 443, "/files/a.png?sig=1")


def check(url, *, allow_http=False, allowed_hosts=()):
    return checked_url(url, allow_http=allow_http, allowed_hosts=allowed_hosts)


def redirect(location, *, source=FROM, allow_http=False, allowed_hosts=()):
    return checked_redirect(source, location, allow_http=allow_http, allowed_hosts=allowed_hosts)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://v3.fal.media/files/a.png", ("https", "v3.fal.media", 443, "/files/a.png")),
        ("HTTPS://V3.Fal.Media/Files/A", ("https", "v3.fal.media", 443, "/Files/A")),
        ("https://a.test", ("https", "a.test", 443, "/")),
        ("https://a.test?sig=%2F", ("https", "a.test", 443, "/?sig=%2F")),
        ("https://a.test:8443/x#secret", ("https", "a.test", 8443, "/x")),
        ("https://a.test/x?at=b@c", ("https", "a.test", 443, "/x?at=b@c")),
        ("https://8.8.8.8/x", ("https", "8.8.8.8", 443, "/x")),
        ("https://[2606:4700:0::1]/x", ("https", "2606:4700::1", 443, "/x")),
        ("https://xn--bcher-kva.example/x", ("https", "xn--bcher-kva.example", 443, "/x")),
        ("https://my_bucket.s3.example/x", ("https", "my_bucket.s3.example", 443, "/x")),
    ],
)
def test_an_honest_url_is_taken_apart(url, parts):
    assert check(url) == WebAddress(*parts)


def test_http_has_its_own_port_where_it_is_allowed():
    assert check("http://minio:80/x", allow_http=True) == WebAddress("http", "minio", 80, "/x")
    assert check("http://minio/x", allow_http=True).port == 80


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://a.test:443/", "a.test"),
        ("https://a.test:8443/", "a.test:8443"),
        ("https://[2606:4700::1]:8443/", "[2606:4700::1]:8443"),
    ],
)
def test_the_host_header_names_a_port_only_if_it_is_not_the_usual_one(url, authority):
    assert check(url).authority == authority


def test_as_text_an_address_is_short_and_keeps_its_query_to_itself():
    address = check(f"https://a.test/{'x' * 500}?X-Amz-Signature=secret#secret")
    assert str(address).startswith("https://a.test/xxx")
    assert len(str(address)) <= 101
    assert "secret" not in f"{check('https://a.test/x?k=secret')} {check('https://a.test/x?k=secret')!r}"


@pytest.mark.parametrize("host", ["v3.fal.media", "a.b.fal.media", "images.example.com", "8.8.8.8"])
def test_a_host_on_the_list_is_allowed(host):
    assert check(f"https://{host}/", allowed_hosts=("*.FAL.media", "Images.example.com", "8.8.8.8")).host == host


@pytest.mark.parametrize(
    "host", ["fal.media", "evilfal.media", "v3.fal.media.evil.test", "x.images.example.com", "example.com"]
)
def test_a_host_that_only_looks_like_one_on_the_list_is_refused(host):
    with pytest.raises(PermanentError, match="not on the list"):
        check(f"https://{host}/", allowed_hosts=("*.fal.media", "images.example.com"))


@given(st.text(max_size=60) | st.text("htps:/@[]0.:%1a\\#?x", max_size=40).map("https://{}".format))
def test_any_text_is_refused_or_means_the_same_host_to_the_standard_library(url):
    try:
        address = check(url)
    except PermanentError:
        return
    other = urlsplit(url)
    assert other.scheme == "https"
    assert other.username is None
    theirs = other.hostname
    assert theirs == address.host or ip_address(theirs) == ip_address(address.host)
    assert (other.port or 443) == address.port


@pytest.mark.parametrize(
    ("location", "parts"),
    [
        ("https://other.test/b", ("https", "other.test", 443, "/b")),
        ("/b?sig=2", ("https", "cdn.example.com", 443, "/b?sig=2")),
        ("b.png", ("https", "cdn.example.com", 443, "/files/b.png")),
        ("../b.png", ("https", "cdn.example.com", 443, "/b.png")),
        ("?sig=2", ("https", "cdn.example.com", 443, "/files/a.png?sig=2")),
        ("//other.test/b", ("https", "other.test", 443, "/b")),
    ],
)
def test_a_redirect_may_be_relative(location, parts):
    assert redirect(location) == WebAddress(*parts)


@pytest.mark.parametrize(
    "location",
    ["", "http://other.test/", "https://[::1", "gopher://x/", "/a b", "/\u212a", "\\\\evil.test", "https://u@x/"],
)
def test_a_redirect_obeys_the_same_rules(location):
    with pytest.raises(PermanentError, match=r"https://cdn\.example\.com/files/a\.png redirects") as caught:
        redirect(location, allow_http=True)
    assert caught.value.code == "image_url_refused"
    assert "sig" not in str(caught.value)


def test_a_redirect_from_http_may_go_to_http_or_https():
    source = WebAddress("http", "minio", 80, "/")
    assert redirect("http://minio:9000/x", source=source, allow_http=True).port == 9000
    assert redirect("https://minio/x", source=source, allow_http=True).scheme == "https"


PUBLIC = {
    "hosts": "8.8.8.8 93.184.216.34 2606:4700::1111 2001:4860:4860::8888 2a00:1450::1",
    "just outside": "100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 198.17.255.255 198.20.0.1 168.63.129.17",
    "IPv4 within": "::ffff:8.8.8.8 64:ff9b::8.8.8.8",
}
NOT_PUBLIC = {
    "this network": "0.0.0.0 0.1.2.3",
    "private": "10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1",
    "carrier-grade NAT": "100.64.0.1 100.127.255.255",
    "loopback": "127.0.0.1 127.255.255.254",
    "link-local": "169.254.0.1",
    "metadata of clouds": "169.254.169.254 100.100.100.200 192.0.0.192 168.63.129.16",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1",
    "benchmarking": "198.18.0.1 198.19.255.255",
    "6to4 relays": "192.88.99.1",
    "multicast": "224.0.0.1 239.255.255.255",
    "reserved, broadcast": "240.0.0.1 255.255.255.255",
}
NOT_PUBLIC_V6 = {
    "unspecified, loopback": ":: ::1",
    "IPv4-compatible": "::8.8.8.8 ::127.0.0.1",
    "local NAT64": "64:ff9b:1::1 64:ff9b:1:808:8:800::",
    "6to4": "2002:808:808::1 2002:7f00:1::1",
    "Teredo": "2001::1 2001:0:4136:e378:8000::",
    "metadata of clouds": "fd00:ec2::254 fd20:ce::254",
    "unique local": "fc00::1 fdff::1",
    "link-local, site-local": "fe80::1 fe80::1%eth0 febf::1 fec0::1",
    "multicast": "ff02::1 ff0e::1",
    "documentation": "2001:db8::1 3fff::1",
    "benchmarking, ORCHID": "2001:2::1 2001:10::1 2001:20::1",
    "discard": "100::1",
    "not given out": "3ffe::1 4000::1 5f00::1",
}


def each(groups):
    return [address for group in groups.values() for address in group.split()]


@pytest.mark.parametrize("address", each(PUBLIC))
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", each(NOT_PUBLIC) + each(NOT_PUBLIC_V6))
def test_all_other_addresses_are_not(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("wrap", ["::ffff:{}", "::{}", "64:ff9b::{}"])
@pytest.mark.parametrize("address", each(NOT_PUBLIC))
def test_a_private_address_inside_an_ipv6_one_is_found(address, wrap):
    assert not is_public(ip_address(wrap.format(address)))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_what_is_public_in_ipv4_is_public_when_mapped_and_never_when_tunnelled(address):
    assert is_public(IPv6Address(0xFFFF << 32 | int(address))) == is_public(address)
    assert not is_public(IPv6Address(0x2002 << 112 | int(address) << 80))  # 6to4
    assert not is_public(IPv6Address(0x20010000 << 96 | int(address) ^ 0xFFFFFFFF))  # Teredo


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_nothing_is_public_that_the_standard_library_calls_otherwise(address):
    traits = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_unspecified")
    assert not (is_public(address) and any(getattr(address, trait) for trait in traits))
