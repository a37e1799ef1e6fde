"""ML-KEM-768 (FIPS 203), by the algorithms of the standard and in its names.

For checking test vectors only: nothing here is constant-time, and results are
kept, since changed copies of a vector mostly have the same keys.
"""

from functools import lru_cache
from hashlib import sha3_256, sha3_512, shake_128, shake_256

Q = 3329
N = 256
K = 3
ETA1 = 2
ETA2 = 2
DU = 10
DV = 4


def _bit_reverse7(i):
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, _bit_reverse7(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _bit_reverse7(i) + 1, Q) for i in range(128)]


def byte_encode(d, coefficients):
    """Algorithm 5."""
    bits = 0
    for i, a in enumerate(coefficients):
        bits |= a << (d * i)
    return bits.to_bytes(32 * d, "little")


def byte_decode(d, data):
    """Algorithm 6."""
    bits = int.from_bytes(data, "little")
    modulus = Q if d == 12 else 1 << d
    mask = (1 << d) - 1
    return [((bits >> (d * i)) & mask) % modulus for i in range(N)]


def compress(d, x):
    return ((x << d) + Q // 2) // Q % (1 << d)


def decompress(d, y):
    return (y * Q + (1 << (d - 1))) >> d


def sample_ntt(seed):
    """Algorithm 7."""
    length = 672
    while True:
        stream = shake_128(seed).digest(length)
        a = []
        for at in range(0, length, 3):
            d1 = stream[at] + 256 * (stream[at + 1] % 16)
            d2 = stream[at + 1] // 16 + 16 * stream[at + 2]
            if d1 < Q:
                a.append(d1)
            if d2 < Q and len(a) < N:
                a.append(d2)
            if len(a) == N:
                return a
        length += 168


def sample_poly_cbd(eta, data):
    """Algorithm 8."""
    bits = int.from_bytes(data, "little")
    f = []
    for i in range(N):
        x = sum((bits >> (2 * i * eta + j)) & 1 for j in range(eta))
        y = sum((bits >> (2 * i * eta + eta + j)) & 1 for j in range(eta))
        f.append((x - y) % Q)
    return f


def prf(eta, s, b):
    return shake_256(s + bytes([b])).digest(64 * eta)


def ntt(f):
    """Algorithm 9."""
    f = list(f)
    i = 1
    length = 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta = ZETAS[i]
            i += 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length] = (f[j] - t) % Q
                f[j] = (f[j] + t) % Q
        length //= 2
    return f


def inverse_ntt(f):
    """Algorithm 10."""
    f = list(f)
    i = 127
    length = 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta = ZETAS[i]
            i -= 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % Q
                f[j + length] = zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def multiply_ntts(f, g):
    """Algorithms 11 and 12."""
    h = []
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        h.append((a0 * b0 + a1 * b1 * GAMMAS[i]) % Q)
        h.append((a0 * b1 + a1 * b0) % Q)
    return h


def add(f, g):
    return [(a + b) % Q for a, b in zip(f, g)]


def subtract(f, g):
    return [(a - b) % Q for a, b in zip(f, g)]


def dot(row, vector):
    total = [0] * N
    for f, g in zip(row, vector):
        total = add(total, multiply_ntts(f, g))
    return total


def matrix_a(rho):
    return [[sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def k_pke_keygen(d):
    """Algorithm 13."""
    seeds = sha3_512(d + bytes([K])).digest()
    rho, sigma = seeds[:32], seeds[32:]
    a = matrix_a(rho)
    s = [ntt(sample_poly_cbd(ETA1, prf(ETA1, sigma, n))) for n in range(K)]
    e = [ntt(sample_poly_cbd(ETA1, prf(ETA1, sigma, K + n))) for n in range(K)]
    t = [add(dot(a[i], s), e[i]) for i in range(K)]
    return b"".join(byte_encode(12, f) for f in t) + rho, b"".join(byte_encode(12, f) for f in s)


def k_pke_encrypt(ek, m, r):
    """Algorithm 14."""
    t = [byte_decode(12, ek[384 * i : 384 * (i + 1)]) for i in range(K)]
    a = matrix_a(ek[384 * K :])
    y = [ntt(sample_poly_cbd(ETA1, prf(ETA1, r, n))) for n in range(K)]
    e1 = [sample_poly_cbd(ETA2, prf(ETA2, r, K + n)) for n in range(K)]
    e2 = sample_poly_cbd(ETA2, prf(ETA2, r, 2 * K))
    u = [add(inverse_ntt(dot([a[j][i] for j in range(K)], y)), e1[i]) for i in range(K)]
    mu = [decompress(1, x) for x in byte_decode(1, m)]
    v = add(add(inverse_ntt(dot(t, y)), e2), mu)
    c1 = b"".join(byte_encode(DU, [compress(DU, x) for x in f]) for f in u)
    return c1 + byte_encode(DV, [compress(DV, x) for x in v])


def k_pke_decrypt(dk, c):
    """Algorithm 15."""
    step = 32 * DU
    u = [[decompress(DU, x) for x in byte_decode(DU, c[step * i : step * (i + 1)])] for i in range(K)]
    v = [decompress(DV, x) for x in byte_decode(DV, c[step * K :])]
    s = [byte_decode(12, dk[384 * i : 384 * (i + 1)]) for i in range(K)]
    w = subtract(v, inverse_ntt(dot(s, [ntt(f) for f in u])))
    return byte_encode(1, [compress(1, x) for x in w])


@lru_cache
def keygen(d, z):
    """ML-KEM.KeyGen_internal, algorithm 16: encapsulation key and decapsulation key."""
    ek, dk = k_pke_keygen(d)
    return ek, dk + ek + sha3_256(ek).digest() + z


@lru_cache
def encaps(ek, m):
    """ML-KEM.Encaps_internal, algorithm 17, after the check of the key in 7.2."""
    if len(ek) != 384 * K + 32:
        raise ValueError("encapsulation key of a wrong length")
    for i in range(K):
        part = ek[384 * i : 384 * (i + 1)]
        if byte_encode(12, byte_decode(12, part)) != part:
            raise ValueError("encapsulation key with a coefficient of q or more")
    key_and_r = sha3_512(m + sha3_256(ek).digest()).digest()
    return key_and_r[:32], k_pke_encrypt(ek, m, key_and_r[32:])


@lru_cache
def decaps(dk, c):
    """ML-KEM.Decaps_internal, algorithm 18."""
    if len(c) != 32 * (DU * K + DV):
        raise ValueError("ciphertext of a wrong length")
    dk_pke, ek, h, z = dk[: 384 * K], dk[384 * K : 768 * K + 32], dk[-64:-32], dk[-32:]
    m = k_pke_decrypt(dk_pke, c)
    key_and_r = sha3_512(m + h).digest()
    if k_pke_encrypt(ek, m, key_and_r[32:]) != c:
        return shake_256(z + c).digest(32)
    return key_and_r[:32]
