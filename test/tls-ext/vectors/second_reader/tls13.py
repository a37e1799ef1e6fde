"""What TLS 1.3 (RFC 9846) gives to the draft: presentation language, HKDF, key exchange, records.

Standard library and python3-cryptography (38 or later).
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import fips203


class Wrong(Exception):
    """A value that is not what the draft and the RFCs make of the others."""


def expect(condition, what):
    if not condition:
        raise Wrong(what)


class Reader:
    """Reads the presentation language; the whole must be read."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def bytes(self, length):
        expect(len(self.data) - self.at >= length, f"{length} bytes wanted at {self.at}")
        self.at += length
        return self.data[self.at - length : self.at]

    def uint(self, length):
        return int.from_bytes(self.bytes(length), "big")

    def vector(self, prefix, low, high):
        length = self.uint(prefix)
        expect(low <= length <= high, f"vector of {length} bytes, {low} to {high} allowed")
        return self.bytes(length)

    def more(self):
        return self.at < len(self.data)

    def end(self):
        expect(not self.more(), "trailing bytes")


def items(data, read_one):
    """The elements of a vector's body."""
    reader = Reader(data)
    found = []
    while reader.more():
        found.append(read_one(reader))
    return found


class Hash:
    """A hash and the HKDF of TLS 1.3 over it."""

    def __init__(self, name):
        self.name = name
        self.length = hashlib.new(name).digest_size

    def digest(self, data):
        return hashlib.new(self.name, data).digest()

    def hmac(self, key, data):
        return hmac.new(key, data, self.name).digest()

    def extract(self, salt, ikm):
        return self.hmac(salt or bytes(self.length), ikm)

    def expand(self, prk, info, length):
        output = block = b""
        counter = 1
        while len(output) < length:
            block = self.hmac(prk, block + info + bytes([counter]))
            output += block
            counter += 1
        return output[:length]

    def expand_label(self, secret, label, context, length):
        full = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
        return self.expand(secret, info, length)

    def derive_secret(self, secret, label, messages_hash):
        return self.expand_label(secret, label, messages_hash, self.length)

    def derived(self, secret):
        return self.derive_secret(secret, b"derived", self.digest(b""))


SHA256 = Hash("sha256")
SHA384 = Hash("sha384")


class Suite:
    def __init__(self, hash_, aead, key_length):
        self.hash = hash_
        self.aead = aead
        self.key_length = key_length


SUITES = {
    0x1301: Suite(SHA256, AESGCM, 16),
    0x1302: Suite(SHA384, AESGCM, 32),
    0x1303: Suite(SHA256, ChaCha20Poly1305, 32),
}

CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23


class Protection:
    """The keys of one direction, and its records (RFC 9846, "Record Payload Protection")."""

    def __init__(self, suite, key, iv):
        self.aead = suite.aead(key)
        self.iv = iv
        self.sequence = 0

    def open(self, header, fragment):
        nonce = bytes(a ^ b for a, b in zip(self.iv, self.sequence.to_bytes(12, "big")))
        try:
            inner = self.aead.decrypt(nonce, fragment, header)
        except InvalidTag:
            raise Wrong("a record that its keys do not open") from None
        self.sequence += 1
        content = inner.rstrip(b"\0")
        expect(content, "a record without a content type")
        return content[-1], content[:-1]


def x25519_private(data):
    clamped = bytes([data[0] & 248]) + data[1:31] + bytes([(data[31] & 127) | 64])
    expect(clamped == data, "an X25519 private key that is not clamped")
    return X25519PrivateKey.from_private_bytes(data)


def x25519_public(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


X25519 = 0x001D
X25519MLKEM768 = 0x11EC
ML_KEM_KEY = 1184
ML_KEM_CIPHERTEXT = 1088


class ClientShare:
    """A client's half of a key exchange, made from the private inputs."""

    def __init__(self, group, x25519, ml_kem_d=None):
        self.private = x25519_private(x25519)
        self.decapsulation_key = b""
        self.share = x25519_public(self.private)
        if group == X25519MLKEM768:
            encapsulation_key, self.decapsulation_key = fips203.keygen(ml_kem_d, bytes(32))
            self.share = encapsulation_key + self.share
        self.group = group

    def secret(self, server_share):
        at = ML_KEM_CIPHERTEXT if self.group == X25519MLKEM768 else 0
        expect(len(server_share) == at + 32, "a server share of a wrong length")
        kem = fips203.decaps(self.decapsulation_key, server_share[:at]) if at else b""
        return kem + self.private.exchange(X25519PublicKey.from_public_bytes(server_share[at:]))


def answer_share(client_share, x25519, ml_kem_m=None):
    """A server's share and the secret, made from the private inputs; of X25519 alone without one for ML-KEM."""
    at = ML_KEM_KEY if ml_kem_m is not None else 0
    expect(len(client_share) == at + 32, "a client share of a wrong length")
    kem, ciphertext = fips203.encaps(client_share[:at], ml_kem_m) if at else (b"", b"")
    private = x25519_private(x25519)
    shared = private.exchange(X25519PublicKey.from_public_bytes(client_share[at:]))
    return ciphertext + x25519_public(private), kem + shared
