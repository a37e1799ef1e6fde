#!/usr/bin/env python3
"""A second, independent reader of the test vectors of draft-qstunnel-tls-qkd-psk.

It takes the inputs and messages of each vector, derives every secret, and
checks each binder, MAC, signature, check value and record, by the text of the
draft and of the RFCs alone. Standard library and python3-cryptography.

    second_reader.py FILE                      checks every vector
    second_reader.py FILE --mutate N SEED      changes one digit of N values in
                                               each vector; each must be noticed
                                               (N = 0: of every value)

Exit status 0 if all is right, 1 if not.
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("second_reader")))

from connection import Connection  # noqa: E402
from key_channel import KeyChannel  # noqa: E402
from tls13 import Wrong, expect  # noqa: E402
from vector_file import read_vectors  # noqa: E402

NAMES = {"used", "fallback", "refusal", "binder", "resumption", "rekey", "channel"}


def check_vector(vector):
    kind = vector.name.split("-")[0]
    expect(kind in NAMES, f"unknown vector {vector.name}")
    (KeyChannel(vector) if kind == "channel" else Connection(vector)).check()


def problem(vector):
    """What is wrong with a vector, or None. What breaks on malformed bytes is wrong with it too."""
    try:
        check_vector(vector)
    except Wrong as wrong:
        return str(wrong)
    except (ValueError, KeyError, IndexError, OverflowError, AttributeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def check_links(vectors):
    """A resumption's ticket and PSK are those of the connection that issued them."""
    by_name = {vector.name: vector for vector in vectors}
    for vector in vectors:
        issuer = by_name.get(vector.name.removesuffix("-resumed") + "-issued")
        if vector.name.endswith("-resumed") and issuer is not None:
            psk, given = issuer.derived()["ticket_psk"], vector.inputs()["resumption_psk"]
            expect(psk == given, f"{vector.name}: resumption_psk is not the ticket's")


def check(text):
    vectors = read_vectors(text)
    expect(vectors, "no vectors")
    for vector in vectors:
        found = problem(vector)
        expect(found is None, f"{vector.name}: {found}")
    check_links(vectors)
    return vectors


def mutate(vectors, count, source):
    """How many changed digits were noticed; raises Wrong at one that was not."""
    noticed = 0
    for vector in vectors:
        values = [value for value in vector.values if value.data]
        for value in values if count == 0 else source.sample(values, min(count, len(values))):
            original = value.data
            at = source.randrange(2 * len(original))
            changed = bytearray(original)
            changed[at // 2] ^= source.randrange(1, 16) << (0 if at % 2 else 4)
            value.data = bytes(changed)
            expect(problem(vector) is not None, f"{vector.name}: digit {at} of {value.name} changed and nobody noticed")
            value.data = original
            noticed += 1
    return noticed


def main(arguments):
    if len(arguments) not in (1, 4) or (len(arguments) == 4 and arguments[1] != "--mutate"):
        print(__doc__, file=sys.stderr)
        return 1
    try:
        vectors = check(Path(arguments[0]).read_text(encoding="ascii"))
        values = sum(len(vector.values) for vector in vectors)
        print(f"{len(vectors)} vectors, {values} values: all as the draft has them")
        if len(arguments) == 4:
            noticed = mutate(vectors, int(arguments[2]), random.Random(int(arguments[3])))
            print(f"{noticed} changed digits: each was noticed")
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
