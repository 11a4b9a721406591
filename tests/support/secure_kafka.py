# SPDX-License-Identifier: BSD-3-Clause
"""A real Kafka that lets nobody in without TLS and credentials, and lets nobody do what no ACL allows.

Its certificates are made on the fly, and last as long as the test. Three listeners: SCRAM over TLS, client
certificates (mutual TLS), and OAUTHBEARER with Kafka's unsecured validator, which believes any token that has
not run out.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.artefacts import java, kafka_tools_classpath
from tests.support.cluster import REQUEST_S, KafkaCluster
from tests.support.kafka import JVM_FLAGS, NEVER_LOST, KafkaBroker
from tests.support.process import LOOPBACK, free_ports

__all__ = ["ADMIN", "SecureKafka", "scram"]

ADMIN = ("admin", "of-the-tests")
"""The super user."""

REAUTHENTICATE_MS = 3000
"""Longest that a connection lives without new credentials: shorter than a test."""

ITERATIONS = 4096
"""The fewest that SCRAM allows."""

SERVER: Mapping[str, str] = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # The broker's own traffic, on listeners that no client is told of.
    "super.users": f"User:{ADMIN[0]};User:ANONYMOUS",
    "inter.broker.listener.name": "INTERNAL",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,"
    "TOKEN:SASL_PLAINTEXT",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "listener.name.mutual.ssl.client.auth": "required",
    "listener.name.mutual.ssl.principal.mapping.rules": r"RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
    "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.scram.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram."
    "ScramLoginModule required;",
    "listener.name.scram.scram-sha-512.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
    "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
    "listener.name.token.oauthbearer.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer."
    'OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
    "listener.name.token.oauthbearer.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
}

Properties = dict[str, str]
"""librdkafka properties."""


def scram(user: str, password: str, authority: Path) -> Properties:
    """Return the properties of a client that comes with a password."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "ssl.ca.location": str(authority),
    }


class SecureKafka(KafkaBroker):
    """A broker with users, certificates and ACLs.

    Parameters
    ----------
    folder
        Where its certificates, settings, log and data go.

    Attributes
    ----------
    bootstrap, mutual, token
        Addresses of the three listeners.
    authority, stranger
        Certificate files of the authority that signed the broker's certificate, and of one that did not.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._signer = trustme.CA()
        self.authority = folder / "authority.pem"
        self.stranger = folder / "stranger.pem"
        self._signer.cert_pem.write_to_path(str(self.authority))
        trustme.CA().cert_pem.write_to_path(str(self.stranger))
        store = folder / "server.pem"
        store.write_bytes(_pem(self._signer.issue_cert(LOOPBACK, "localhost")))
        super().__init__(
            folder,
            properties={
                **SERVER,
                **NEVER_LOST,
                "ssl.keystore.location": str(store),
                "ssl.truststore.location": str(self.authority),
            },
        )

    def client_certificate(self, user: str, *, password: str = "") -> Properties:
        """Return the properties of a client that comes with a certificate of its own."""
        leaf = self._signer.issue_cert(f"{user}@tests.example", common_name=user)
        certificate, key = self.folder / f"{user}.crt", self.folder / f"{user}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        key.write_bytes(_key(leaf, locked))
        properties = {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.authority),
            "ssl.certificate.location": str(certificate),
            "ssl.key.location": str(key),
        }
        return properties | ({"ssl.key.password": password} if password else {})

    def scram(self, user: str, password: str) -> Properties:
        """Return the properties of a client that comes with a password."""
        return scram(user, password, self.authority)

    def set_password(self, user: str, password: str) -> None:
        """Make a user, or give one another password."""
        change = UserScramCredentialUpsertion(
            user,
            ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS),  # type: ignore[attr-defined]
            password.encode(),
        )
        admin = self._admin()
        (done,) = admin.alter_user_scram_credentials([change]).values()
        done.result(REQUEST_S)

    def forbid(self, user: str) -> None:
        """Take all that a user may do."""
        admin = self._admin()
        (done,) = admin.delete_acls([_anything_of(user)]).values()
        done.result(REQUEST_S)

    def allow(self, user: str, operation: str, kind: str, name: str, *, prefixed: bool = False) -> None:
        """Let a user do something with a topic, a group or a transactional id."""
        binding = AclBinding(
            ResourceType[kind.upper()],
            name,
            ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        admin = self._admin()
        (done,) = admin.create_acls([binding]).values()
        done.result(REQUEST_S)

    def rights(self, user: str) -> set[tuple[str, str, str, str]]:
        """Return all that a user may do: operation, kind, name and whether that is a literal or a prefix."""
        admin = self._admin()
        found = admin.describe_acls(_anything_of(user)).result(REQUEST_S)
        return {
            (acl.operation.name, acl.restype.name, acl.name, acl.resource_pattern_type.name) for acl in found
        }

    def run_script(self, script: Path, arguments: Iterable[str]) -> subprocess.CompletedProcess[str]:
        """Run a shell script that calls `kafka-acls.sh`, as the super user."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        tool, login = tools / "kafka-acls.sh", tools / "admin.properties"
        login.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\n"
            f"ssl.truststore.location={self.authority}\n"
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{ADMIN[0]}" password="{ADMIN[1]}";\n'
        )
        # What Kafka's own bin/kafka-acls.sh does.
        flags = " ".join(JVM_FLAGS)
        tool.write_text(
            f"#!/bin/sh\nexec '{java()}' {flags} -cp '{kafka_tools_classpath()}' "
            'org.apache.kafka.tools.AclCommand "$@"\n'
        )
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        return subprocess.run(
            ["/bin/sh", str(script), *arguments, "--command-config", str(login)],
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def _take_ports(self) -> None:
        self._port, self._controller_port, internal, mutual, token = free_ports(5)
        self._internal = f"{LOOPBACK}:{internal}"
        self.mutual, self.token = f"{LOOPBACK}:{mutual}", f"{LOOPBACK}:{token}"
        KafkaCluster.__init__(self, f"{LOOPBACK}:{self._port}")

    def _listeners(self) -> str:
        return (
            f"SCRAM://{self.bootstrap},MUTUAL://{self.mutual},TOKEN://{self.token},"
            f"INTERNAL://{self._internal},CONTROLLER://{LOOPBACK}:{self._controller_port}"
        )

    def _format_options(self) -> list[str]:
        user, password = ADMIN
        return ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]

    def _client(self) -> dict[str, Any]:
        return {**super()._client(), **self.scram(*ADMIN)}


def _anything_of(user: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _pem(leaf: trustme.LeafCert) -> bytes:
    """Return key and certificates as Kafka reads them."""
    return _key(leaf, NoEncryption()) + b"".join(blob.bytes() for blob in leaf.cert_chain_pems)


def _key(leaf: trustme.LeafCert, encryption: KeySerializationEncryption) -> bytes:
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
