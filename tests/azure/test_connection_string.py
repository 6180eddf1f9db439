from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_sdk.azure import ConnectionString

KEY = "c2VjcmV0LWtleS1zZWNyZXQta2V5LXNlY3JldC1rZXk="
HOST = "https://x.service.signalr.net"


def parse(text: str) -> ConnectionString:
    return ConnectionString.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f"Endpoint={HOST};AccessKey={KEY};Version=1.0;",
        f"endpoint={HOST}/;ACCESSKEY={KEY}",
        f" Endpoint = {HOST} ;; AccessKey = {KEY} ;Version=1.1-preview;",
        f"AccessKey={KEY};Endpoint={HOST};Something=else;",
    ],
)
def test_the_usual_form(text: str) -> None:
    found = parse(text)
    assert found.access_key == KEY
    assert found.endpoint == found.client_endpoint == found.server_endpoint == f"{HOST}/"
    assert found.auth_type is found.credential_name is None


@pytest.mark.parametrize(
    ("endpoint", "port", "audience", "base"),
    [
        ("http://localhost", "8888", "http://localhost/", "http://localhost:8888/"),
        ("http://localhost:80", "8888", "http://localhost/", "http://localhost:8888/"),
        ("https://x.test:444", None, "https://x.test/", "https://x.test:444/"),
        ("https://X.test/signalr", "1", "https://x.test/", "https://x.test:1/signalr/"),
        ("http://[::1]", "65535", "http://[::1]/", "http://[::1]:65535/"),
    ],
)
def test_ports(endpoint: str, port: str | None, audience: str, base: str) -> None:
    found = parse(f"Endpoint={endpoint};AccessKey={KEY};" + (f"Port={port};" if port else ""))
    assert found.endpoint == audience
    assert found.client_endpoint == found.server_endpoint == base


def test_endpoints_of_a_reverse_proxy() -> None:
    text = (
        f"Endpoint={HOST};AccessKey={KEY};ClientEndpoint=https://c.test/signalr;ServerEndpoint=http://s.test:81/;Port=5"
    )
    found = parse(text)
    assert found.endpoint == f"{HOST}/"
    assert found.client_endpoint == "https://c.test/signalr/"
    assert found.server_endpoint == "http://s.test:81/"


@pytest.mark.parametrize(
    ("rest", "auth_type", "credential"),
    [
        ("AuthType=azure", "azure", "DefaultAzureCredential"),
        ("AuthType=Azure.MSI", "azure.msi", "ManagedIdentityCredential"),
        ("AuthType=azure.msi;ClientId=c", "azure.msi", "ManagedIdentityCredential"),
        ("AuthType=azure.app;ClientId=c;TenantId=t;ClientSecret=s", "azure.app", "ClientSecretCredential"),
        ("AuthType=azure.app;ClientId=c;TenantId=t;ClientCert=s", "azure.app", "CertificateCredential"),
        ("AuthType=azure.app;ClientId=c;TenantId=t;ClientCertPath=s", "azure.app", "CertificateCredential"),
        ("AuthType=aad", "aad", "ManagedIdentityCredential"),
        ("AuthType=aad;ClientId=c", "aad", "ManagedIdentityCredential"),
        ("AuthType=aad;ClientId=c;TenantId=t;ClientSecret=s", "aad", "ClientSecretCredential"),
        ("AuthType=azure;AccessKey=unused", "azure", "DefaultAzureCredential"),
    ],
)
def test_entra_id(rest: str, auth_type: str, credential: str) -> None:
    found = parse(f"Endpoint={HOST};{rest};Version=1.0;")
    assert (found.auth_type, found.credential_name, found.access_key) == (auth_type, credential, None)
    assert found.client_id == ("c" if "ClientId=c" in rest else None)
    assert found.tenant_id == ("t" if "TenantId=t" in rest else None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "at least Endpoint"),
        (f"AccessKey={KEY}", "at least Endpoint"),
        (f"Endpoint={HOST};{KEY.rstrip('=')};Version=1.0", "a part without '='"),
        (f"AccessKey={KEY};Version=1.0", "no Endpoint"),
        (f"Endpoint=;AccessKey={KEY}", "no Endpoint"),
        (f"Endpoint={HOST};Version=1.0", "no AccessKey; for Entra ID"),
        (f"Endpoint={HOST};AccessKey=;Version=1.0", "no AccessKey; for Entra ID"),
        (f"Endpoint={HOST};AccessKey={KEY};accesskey=2", "AccessKey twice"),
        (f"Endpoint={HOST};AccessKey={KEY};Version=2.0", "Version 2.0 is not supported"),
        (f"Endpoint={HOST};AccessKey={KEY};Version=1", "Version 1 is not supported"),
        (f"Endpoint=x.service.signalr.net;AccessKey={KEY}", "Endpoint must be an absolute URL"),
        (f"Endpoint=wss://x.test;AccessKey={KEY}", "Endpoint must be an absolute URL"),
        (f"Endpoint=https://;AccessKey={KEY}", "Endpoint names no host"),
        (f"Endpoint=https://me:{KEY}@x.test;AccessKey={KEY}", "Endpoint holds a user"),
        (f"Endpoint={HOST}?a=b;AccessKey={KEY}", "Endpoint has a query"),
        (f"Endpoint={HOST};AccessKey={KEY};ClientEndpoint=/x", "ClientEndpoint must be an absolute URL"),
        (f"Endpoint={HOST};AccessKey={KEY};ServerEndpoint=x", "ServerEndpoint must be an absolute URL"),
        *[
            (f"Endpoint={HOST};AccessKey={KEY};Port={port}", "Port must be")
            for port in ("0", "65536", "x", "", "٣", "1" * 9)
        ],
        (f"Endpoint={HOST};AuthType=key", "AuthType 'key' is not known"),
        (f"Endpoint={HOST};AuthType=azure.app;TenantId=t;ClientSecret={KEY}", "needs ClientId"),
        (f"Endpoint={HOST};AuthType=azure.app;ClientId=c;ClientSecret={KEY}", "needs TenantId"),
        (f"Endpoint={HOST};AuthType=azure.app;ClientId=c;TenantId=t", "needs ClientSecret or ClientCert"),
        (f"Endpoint={HOST};AuthType=aad;ClientId=c;TenantId=t", "needs ClientSecret or ClientCert"),
    ],
)
def test_errors_say_what_is_wrong_and_show_no_secret(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="the connection string of Azure SignalR Service is wrong: ") as caught:
        parse(text)
    assert why in str(caught.value)
    assert KEY.rstrip("=") not in str(caught.value)
    assert caught.value.__cause__ is None


@given(
    st.text()
    | st.lists(st.sampled_from(["Endpoint=", "Port=", "https://", "x", "/", ":", ";", "=", "\ud800"])).map("".join)
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for whole in (text, f"{text};AccessKey={KEY}", f"Endpoint={text};AccessKey={KEY}", f"Endpoint={HOST};{text}"):
        try:
            found = parse(whole)
        except ValueError as error:
            assert "the connection string of Azure SignalR Service is wrong" in str(error)  # noqa: PT017
        else:
            assert found.server_endpoint.endswith("/")


def test_only_text_is_a_connection_string() -> None:
    with pytest.raises(TypeError, match="must be a str, not bytes"):
        parse(b"Endpoint=x")  # type: ignore[arg-type]


def test_the_key_is_not_shown() -> None:
    found = parse(f"Endpoint={HOST};AccessKey={KEY};Version=1.0;")
    assert KEY not in f"{found} {found!r}"
    secret = parse(f"Endpoint={HOST};AuthType=azure.app;ClientId=c;TenantId=t;ClientSecret={KEY}")
    assert KEY not in f"{secret} {secret!r}"
