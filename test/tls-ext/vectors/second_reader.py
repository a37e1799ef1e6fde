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


# The connection that each is the next one of.
BEFORE = {"channel-reconnected": "channel-cut"}


def check_vector(vector, before=None):
    kind = vector.name.split("-")[0]
    expect(kind in NAMES, f"unknown vector {vector.name}")
    connection = KeyChannel(vector, before) if kind == "channel" else Connection(vector)
    connection.check()
    return connection


def connections_before(vectors):
    by_name = {vector.name: vector for vector in vectors}
    found = {}
    for name, before in BEFORE.items():
        if name in by_name:
            wrong = problem(by_name[before], None)
            expect(wrong is None, f"{before}: {wrong}")
            found[name] = check_vector(by_name[before])
    return found


def problem(vector, before):
    """What is wrong with a vector, or None. What breaks on malformed bytes is wrong with it too."""
    try:
        check_vector(vector, before)
    except Wrong as wrong:
        return str(wrong)
    except (ValueError, KeyError, IndexError, OverflowError, AttributeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def check_links(vectors):
    """A resumption's PSK is that of a ticket that some connection issued."""
    issued = [vector.derived().get(name) for vector in vectors for name in ("ticket_psk", "ticket_psk_again")]
    for vector in vectors:
        psk = vector.inputs().get("resumption_psk")
        expect(psk is None or psk in issued, f"{vector.name}: resumption_psk is not a ticket's")


def check(text):
    vectors = read_vectors(text)
    expect(vectors, "no vectors")
    before = connections_before(vectors)
    for vector in vectors:
        found = problem(vector, before.get(vector.name))
        expect(found is None, f"{vector.name}: {found}")
    check_links(vectors)
    return vectors


def mutate(vectors, count, source):
    """How many changed digits were noticed; raises Wrong at one that was not."""
    noticed = 0
    before = connections_before(vectors)
    for vector in vectors:
        values = [value for value in vector.values if value.data]
        for value in values if count == 0 else source.sample(values, min(count, len(values))):
            original = value.data
            at = source.randrange(2 * len(original))
            changed = bytearray(original)
            changed[at // 2] ^= source.randrange(1, 16) << (0 if at % 2 else 4)
            value.data = bytes(changed)
            found = problem(vector, before.get(vector.name))
            expect(found is not None, f"{vector.name}: digit {at} of {value.name} changed and nobody noticed")
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
