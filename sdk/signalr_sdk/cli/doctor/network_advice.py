"""Turns errors of the network, of proxies and of TLS into advice for users. No I/O, and the time is an argument."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import attrs

from .findings import Advice

if TYPE_CHECKING:
    import ssl


def for_name(host: str, *, is_proxy: bool) -> Advice:
    """Return advice for a host name that no name server knows."""
    whose = "the proxy's URL" if is_proxy else "the URL"
    return Advice(
        f"no name server that is asked from here knows {host}: it is misspelt, or known only inside another network",
        f"check the host in {whose}; inside a VPN or container check its name servers",
    )


def for_tcp(error: OSError, port: int, *, is_proxy: bool) -> Advice:
    """Return advice for a TCP connection that failed."""
    if is_proxy:
        return Advice(
            "the proxy cannot be reached: it is not running, or its address is wrong",
            "check --proxy and the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)",
        )
    if isinstance(error, ConnectionRefusedError):
        return Advice(
            f"the machine is there, but nothing listens on port {port}",
            "start the server; check the port in the URL; check that the server does not listen on loopback only",
        )
    if isinstance(error, TimeoutError):
        return Advice(
            "the machine is off or does not exist, or a firewall drops the packets to it",
            f"check the host, and whether this network allows connections to port {port}",
        )
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Advice("there is no route to that network from here", "check the network, VPN or container")
    return Advice("the network refuses the connection", "check the host and port, and the firewalls on the way")


def for_tunnel(status: int | None) -> Advice:
    """Return advice for a proxy that did not open a tunnel (CONNECT) to the server.

    Args:
        status: the HTTP status of the proxy's answer; `None` if the answer was not HTTP.
    """
    if status == 407:
        return Advice(
            "the proxy wants a user and password",
            "put both into the proxy's URL: --proxy http://user:password@proxy:3128, or the same in the environment",
        )
    if status is None:
        return Advice(
            "what listens there is no HTTP proxy",
            "check the proxy's URL; a SOCKS proxy does not do",
        )
    return Advice(
        "the proxy does not let connections to that host and port through",
        "allow them in the proxy (method CONNECT), or add the host to NO_PROXY if it can be reached directly",
    )


# Advice about certificates that are not trusted or that expire soon


@attrs.frozen
class Certificate:
    """The TLS certificate of a server, as far as advice needs it.

    Attributes:
        names: the hosts that the certificate is for.
        issuer: the authority that signed the certificate.
        ends: when the certificate expires, in seconds since 1970.
    """

    names: tuple[str, ...]
    issuer: str
    ends: float = attrs.field(kw_only=True)

    def days_left(self, now: float) -> int:
        """Return whole days until the certificate expires; negative if it has expired."""
        return int((self.ends - now) / 86400)


# The advice for each error of a certificate: a dict from OpenSSL's number of the error (`verify_code`) to the advice.
# `for_certificate` replaces `{when}` and the other names in braces.
_CERTIFICATES = {
    9: Advice("the certificate is not valid yet", "check the clock of this machine, then that of the server"),
    10: Advice("the certificate has expired{when}", "renew the certificate on the server, and automate the renewal"),
    18: Advice(
        "the certificate is signed by itself", "pass the certificate as --ca FILE, or use one from an authority"
    ),
    19: Advice(
        "the certificate comes from an authority{issuer} of its own, which this machine does not trust",
        "pass that authority's certificate as --ca FILE",
    ),
    20: Advice(
        "the certificate comes from an authority{issuer} that this machine does not trust, "
        "or the server does not send those between its own and the authority's",
        "pass the authority's certificate as --ca FILE, or make the server send its whole chain",
    ),
    62: Advice(
        "the certificate is not for {host}{names}",
        "use one of the certificate's names in the URL, or give the server a certificate for this host",
    ),
    66: Advice(
        "the certificate, or one that signed it, has a key or signature that is too weak by today's rules",
        "issue the certificate again with at least 2048 bits (RSA) or an elliptic curve, and SHA-256",
    ),
}
_SAME = {21: 20, 64: 62, 67: 66, 68: 66}
_UNVERIFIED = Advice("the certificate cannot be verified", "see the error; --insecure connects without verification")


def for_certificate(error: ssl.SSLCertVerificationError, host: str, seen: Certificate | None, now: float) -> Advice:
    """Return advice for a certificate that is not trusted.

    Args:
        error: the error of the verification.
        host: the host in the URL.
        seen: the certificate, if it could be read.
        now: the current time, in seconds since 1970.
    """
    advice = _CERTIFICATES.get(_SAME.get(error.verify_code, error.verify_code), _UNVERIFIED)
    names, issuer, when = "", "", ""
    if seen is not None:
        names = f": it is for {', '.join(seen.names[:5])}" if seen.names else ""
        issuer = f" ({seen.issuer})" if seen.issuer else ""
        when = f" {-seen.days_left(now)} days ago" if seen.ends < now else ""
    return attrs.evolve(advice, cause=advice.cause.format(host=host, names=names, issuer=issuer, when=when))


def for_expiring(days: int) -> Advice:
    """Return advice for a certificate that expires in a few days."""
    return Advice(
        f"the certificate expires in {days} days", "renew the certificate on the server, and automate the renewal"
    )


CLIENT_CERTIFICATE = Advice(
    "the server ends the connection after the TLS handshake: it probably wants a certificate of the client",
    "ask who runs the server; this command has no such option, a program can show one (how-to: proxies and TLS)",
)
HTTPS_PORT = Advice("this port speaks HTTPS, and the URL says http", "write https:// in the URL")


def for_tls(error: OSError) -> Advice:
    """Return advice for a TLS handshake that failed for another reason than the certificate."""
    reason = str(getattr(error, "reason", "") or error).upper()
    if "CERTIFICATE_REQUIRED" in reason or "BAD_CERTIFICATE" in reason:
        return CLIENT_CERTIFICATE
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "RECORD_LAYER_FAILURE" in reason:
        return Advice("what listens there does not speak TLS", "use http:// in the URL, or the port that has HTTPS")
    if "PROTOCOL" in reason or "DH_KEY" in reason or "HANDSHAKE_FAILURE" in reason or "NO_SHARED" in reason:
        return Advice(
            "the server has no TLS version or cipher that this machine accepts: too old, or too narrow settings",
            "make the server offer TLS 1.2 or 1.3 with today's ciphers",
        )
    return Advice(
        "the server, or a firewall on the way, ends the connection when TLS begins",
        "check the port; a load balancer that knows its servers by name may not know this one",
    )
