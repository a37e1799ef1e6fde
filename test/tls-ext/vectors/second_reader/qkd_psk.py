"""The structures of draft-qstunnel-tls-qkd-psk, sections 4 and 5, and the import of a key."""

from tls13 import SHA256, SHA384, Reader, expect

QKD_PSK = 0xFF51
REKEY = 0x01

ETSI004, ETSI014, SKIP = 1, 2, 3

NONE, KEY, TICKET = 0, 1, 2
REASONS = {
    1: "stream_opening",
    2: "channel_down",
    3: "pool_empty",
    4: "kme_unreachable",
    5: "peer_kme_unreachable",
    6: "key_mismatch",
    7: "budget",
    8: "policy",
}

NOT_OFFERED, USED, RESUMED, UNAVAILABLE, POLICY = range(5)

TARGET_KDF = {1: SHA256, 2: SHA384}
KDF_OF_HASH = {"sha256": 1, "sha384": 2}


def read_reference(reader):
    """QkdKeyReference; returns the drawer's SAE ID and what it names within the API."""
    api = reader.uint(1)
    drawer = reader.vector(1, 1, 255)
    drawer.decode("utf-8")
    if api == ETSI004:
        return drawer, (api, reader.bytes(16), reader.uint(4), reader.uint(2))
    if api == ETSI014:
        return drawer, (api, reader.bytes(16))
    expect(api == SKIP, f"key delivery API {api}")
    return drawer, (api, reader.vector(1, 1, 255))


def check_reference(reference, drawer):
    reader = Reader(reference)
    named, _ = read_reference(reader)
    reader.end()
    expect(named == drawer, "a reference of another drawer")


def context(purpose, drawer, answerer):
    """QkdPskContext."""
    return (
        b"qkd_psk/1"
        + bytes([{"handshake": 1, "rekey": 2}[purpose]])
        + bytes([len(drawer)])
        + drawer
        + bytes([len(answerer)])
        + answerer
    )


def imported_identity(reference, qkd_context, hash_):
    """ImportedIdentity of RFC 9258 for TLS 1.3."""
    return (
        len(reference).to_bytes(2, "big")
        + reference
        + len(qkd_context).to_bytes(2, "big")
        + qkd_context
        + (0x0304).to_bytes(2, "big")
        + KDF_OF_HASH[hash_.name].to_bytes(2, "big")
    )


def read_client_hello_extension(data):
    """Features and (offer, reason)."""
    reader = Reader(data)
    expect(reader.uint(2) == 1, "draft_version")
    features = reader.uint(1)
    offer = reader.uint(1)
    expect(offer in (NONE, KEY, TICKET), "offer")
    reason = None
    if offer == NONE:
        reason = reader.uint(1)
        expect(reason in REASONS, "reason")
    reader.end()
    return features, offer, reason


def read_encrypted_extensions_extension(data):
    """Features and result."""
    reader = Reader(data)
    expect(reader.uint(2) == 1, "draft_version")
    features = reader.uint(1)
    result = reader.uint(1)
    expect(result <= POLICY, "result")
    reader.end()
    return features, result


def check_values(key, reference):
    """prk, check "d" and check "a" of the key channel."""
    prk = SHA256.extract(b"", key)
    digest = SHA256.digest(reference)
    return (
        prk,
        SHA256.expand_label(prk, b"qkd check d", digest, 16),
        SHA256.expand_label(prk, b"qkd check a", digest, 16),
    )
