"""Certificate and CertificateVerify of the vectors: Ed25519 under one CA, with the SAE ID in a URI."""

from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tls13 import Reader, Wrong, expect

ED25519 = 0x0807
CONTEXTS = {"client": b"TLS 1.3, client CertificateVerify", "server": b"TLS 1.3, server CertificateVerify"}


def raw(public_key):
    return public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def verify(public_key, signature, content, what):
    try:
        public_key.verify(signature, content)
    except InvalidSignature:
        raise Wrong(f"the signature of {what}") from None


def read_certificate(body, ca_der, sae_id):
    """The public key of a Certificate message whose leaf `ca_der` signed, and which names `sae_id`."""
    reader = Reader(body)
    expect(reader.vector(1, 0, 255) == b"", "certificate_request_context")
    entries = Reader(reader.vector(3, 0, 2**24 - 1))
    reader.end()
    leaf_der = entries.vector(3, 1, 2**24 - 1)
    expect(entries.vector(2, 0, 65535) == b"", "extensions of a CertificateEntry")
    entries.end()
    ca = x509.load_der_x509_certificate(ca_der)
    leaf = x509.load_der_x509_certificate(leaf_der)
    for certificate in (ca, leaf):
        verify(ca.public_key(), certificate.signature, certificate.tbs_certificate_bytes, "a certificate")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    expect("urn:qstunnel:sae:" + quote(sae_id, safe="") in uris, "a certificate that does not name the SAE of its role")
    return leaf.public_key()


def check_certificate_verify(party, body, public_key, transcript_hash, private):
    reader = Reader(body)
    expect(reader.uint(2) == ED25519, "signature scheme")
    signature = reader.vector(2, 0, 65535)
    reader.end()
    content = b" " * 64 + CONTEXTS[party] + b"\0" + transcript_hash
    verify(public_key, signature, content, f"the {party}'s CertificateVerify")
    key = Ed25519PrivateKey.from_private_bytes(private)
    expect(raw(key.public_key()) == raw(public_key), f"{party}_certificate_key")
