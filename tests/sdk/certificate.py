"""TLS for a server of a test, with a certificate by the local vault's own authority."""

import datetime
import ipaddress
import pathlib
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def context(authority: str, *names: str) -> ssl.SSLContext:
    """For a server with these names and 127.0.0.1; the authority's key (`ca.key`) lies beside its certificate `authority`."""
    issuer = x509.load_pem_x509_certificate(pathlib.Path(authority).read_bytes())
    signer = serialization.load_pem_private_key(pathlib.Path(authority).with_name("ca.key").read_bytes(), None)
    # The authority's own identifier: it need not be the usual hash of its key.
    above = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.SubjectAlternativeName([*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(called, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(prefix="akvfs-leaf-") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM) + private)
        file.flush()
        server.load_cert_chain(file.name)
    return server
