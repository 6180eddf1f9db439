"""Parses and checks connection strings of Azure SignalR Service.

Error texts name the property of the connection string that is wrong, and never quote a value that may be a secret.
Source: ConnectionStringParser of Azure/azure-signalr.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from .._core import urls
from .._core.redaction import redact

_NAMES = {
    name.lower(): name
    for name in (
        "Endpoint", "Port", "AccessKey", "Version", "ClientEndpoint", "ServerEndpoint", "AuthType", "ClientId",
        "ClientSecret", "ClientCert", "ClientCertPath", "TenantId",
    )
}  # fmt: skip
_VERSION = re.compile(r"1\.\d[\w.-]*", re.ASCII)
_FEWEST_PROPERTIES = 2


@attrs.frozen(kw_only=True)
class ConnectionString:
    """A parsed connection string of Azure SignalR Service. The `repr` has no secret.

    Attributes:
        endpoint: URL of the service without a port, ending in `/`. The claim `aud` (audience) of each client's token
            begins with this URL.
        client_endpoint: URL to which clients connect, ending in `/`.
        server_endpoint: URL for REST requests, ending in `/`.
        access_key: the key that signs tokens; `None` with Entra ID.
        auth_type: `azure`, `azure.msi`, `azure.app` or `aad` for Entra ID; `None` with an access key.
        client_id: Entra ID's id of the application or user-assigned identity.
        tenant_id: Entra ID's tenant of the application.
        credential_name: the class of azure-identity that fits the connection string; `None` with an access key.
    """

    endpoint: str
    client_endpoint: str
    server_endpoint: str
    access_key: str | None = attrs.field(default=None, repr=False)
    auth_type: str | None = None
    client_id: str | None = None
    tenant_id: str | None = None
    credential_name: str | None = None

    @classmethod
    def parse(cls, text: str) -> ConnectionString:
        """Parse a connection string of Azure SignalR Service.

        Raises:
            ValueError: the text is no connection string. The error text says which property is wrong, and why.

        Example:
            >>> from signalr_sdk.azure import ConnectionString
            >>> ConnectionString.parse("Endpoint=https://x.service.signalr.net;AccessKey=secret;Version=1.0;")
            ConnectionString(endpoint='https://x.service.signalr.net/', ...)
        """
        found = _properties(text)
        version = found.get("Version")
        if version is not None and not _VERSION.fullmatch(version):
            raise _wrong(f"Version {redact(version, 20)} is not supported (only 1.x is)")
        if not found.get("Endpoint"):
            raise _wrong("it has no Endpoint")
        endpoint = _with_port(_base("Endpoint", found["Endpoint"]), found.get("Port"))
        auth_type = found.get("AuthType")
        named = _credential(auth_type, found) if auth_type is not None else None
        if named is None and not found.get("AccessKey"):
            raise _wrong("it has no AccessKey; for Entra ID it needs AuthType=azure, and a credential= beside it")
        scheme, host, _port = urls.origin(endpoint)
        return cls(
            endpoint=f"{scheme}://{host}/",
            client_endpoint=_base("ClientEndpoint", found["ClientEndpoint"]) if "ClientEndpoint" in found else endpoint,
            server_endpoint=_base("ServerEndpoint", found["ServerEndpoint"]) if "ServerEndpoint" in found else endpoint,
            access_key=found["AccessKey"] if named is None else None,
            auth_type=auth_type.lower() if auth_type is not None else None,
            client_id=found.get("ClientId"),
            tenant_id=found.get("TenantId"),
            credential_name=named,
        )


def _properties(text: str) -> dict[str, str]:
    """Split a connection string into a dict from the names of its properties to their values.

    Names in any case become the spellings in `_NAMES`. Properties that are not in `_NAMES` are left out.

    Raises:
        ValueError: a part of the string has no `=`, a property is there twice, or there are too few properties.
    """
    if not isinstance(text, str):
        raise TypeError(f"the connection string must be a str, not {type(text).__name__}")
    found: dict[str, str] = {}
    for segment in text.split(";"):
        if not segment.strip():
            continue
        key, equals, value = segment.partition("=")
        name = _NAMES.get(key.strip().lower())
        if not equals:
            # Do not quote the part without '=' in the error text: this part may be half of an access key that has a
            # semicolon, and the secret would end up in logs.
            raise _wrong("it has a part without '=': it is made of name=value, with ';' between")
        if name is None:
            continue  # ignore it: other programs may know this property
        if name in found:
            raise _wrong(f"it has {name} twice")
        found[name] = value.strip()
    if len(found) < _FEWEST_PROPERTIES:
        raise _wrong("it needs at least Endpoint=https://NAME.service.signalr.net and AccessKey=KEY, with ';' between")
    return found


def _base(name: str, value: str) -> str:
    """Check the URL in a property of the connection string; return the URL with a slash at its end.

    Raises:
        ValueError: the URL is wrong. The error text names the property.
    """
    if not re.match("https?://", value, re.IGNORECASE):
        raise _wrong(f"{name} must be an absolute URL that begins with https:// or http://")
    try:
        url = urls.hub_url(value)
    except ValueError as error:
        raise _wrong(str(error).replace("the hub's URL", name)) from None
    if "?" in url:
        raise _wrong(f"{name} has a query, which makes no sense there")
    return url if url.endswith("/") else f"{url}/"


def _with_port(url: str, port: str | None) -> str:
    if port is None:
        return url
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise _wrong("Port must be a number from 1 to 65535")
    scheme, host, _port = urls.origin(url)
    path = url.partition("://")[2].partition("/")[2]
    return f"{scheme}://{host}:{int(port)}/{path}"


def _credential(auth_type: str, found: Mapping[str, str]) -> str:
    """Return the name of the class of azure-identity that fits an AuthType.

    Raises:
        ValueError: the AuthType is not known, or a property that this AuthType needs is missing.
    """
    match auth_type.lower():
        case "azure":
            return "DefaultAzureCredential"
        case "azure.app":
            return _application(found)
        case "aad" if any(map(found.get, ("TenantId", "ClientSecret", "ClientCert", "ClientCertPath"))):
            return _application(found)
        case "azure.msi" | "aad":
            return "ManagedIdentityCredential"
        case _:
            raise _wrong(
                f"AuthType {redact(auth_type, 20)!r} is not known: it is azure, azure.msi, azure.app or aad, "
                "or is left out with an AccessKey"
            )


def _application(found: Mapping[str, str]) -> str:
    for name in ("ClientId", "TenantId"):
        if not found.get(name):
            raise _wrong(f"AuthType {found['AuthType']} with an application needs {name}")
    if found.get("ClientSecret"):
        return "ClientSecretCredential"
    if found.get("ClientCert") or found.get("ClientCertPath"):
        return "CertificateCredential"
    raise _wrong(f"AuthType {found['AuthType']} with an application needs ClientSecret or ClientCert")


def _wrong(why: str) -> ValueError:
    return ValueError(f"the connection string of Azure SignalR Service is wrong: {why}")
