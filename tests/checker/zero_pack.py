#!/usr/bin/env python3
"""Writes a pack with one blob of zeros, without ever making the zeros.

In:  the `objects/pack` folder of a repository and the size of the blob in MiB, a multiple of 64.
Out: the pack and its index there; the id of the blob on standard output.
Never: holds more than 64 MiB. Git itself takes a quarter of a minute to write 2 GiB of zeros.
"""

import hashlib
import struct
import sys
import zlib
from pathlib import Path

MIB = 1 << 20
STEP = 64 * MIB
# The largest prime below 2^16: the modulus of Adler-32 (RFC 1950).
ADLER = 65521


def deflated(size):
    """Zeros as a zlib stream: behind a full flush the same bytes mean the same zeros again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    step = packer.compress(bytes(STEP)) + packer.flush(zlib.Z_FULL_FLUSH)
    # Of zeros, the first sum of Adler-32 stays 1 and the second counts the bytes.
    check = struct.pack(">HH", size % ADLER, 1)
    return b"\x78\x01" + step * (size // STEP) + packer.flush(zlib.Z_FINISH) + check


def entry(size):
    """A blob as it stands in a pack: kind and size, seven bits at a time, then the stream."""
    head, rest = bytearray(), size >> 4
    head.append(3 << 4 | size & 15 | (128 if rest else 0))
    while rest:
        head.append(rest & 127 | (128 if rest >> 7 else 0))
        rest >>= 7
    return bytes(head) + deflated(size)


def main():
    folder, size = Path(sys.argv[1]), int(sys.argv[2]) * MIB
    if size <= 0 or size % STEP:
        sys.exit("the size is no multiple of 64 MiB")
    zeros, blob = bytes(STEP), hashlib.sha1(b"blob %d\0" % size)
    for _ in range(size // STEP):
        blob.update(zeros)
    item = entry(size)
    pack = b"PACK" + struct.pack(">LL", 2, 1) + item
    mark = hashlib.sha1(pack).digest()
    first = blob.digest()[0]
    index = b"\xfftOc" + struct.pack(">L", 2)
    index += struct.pack(">256L", *(int(at >= first) for at in range(256)))
    index += blob.digest() + struct.pack(">LL", zlib.crc32(item), 12) + mark
    index += hashlib.sha1(index).digest()
    name = f"pack-{mark.hex()}"
    # Git looks for the index, so it comes last.
    (folder / f"{name}.pack").write_bytes(pack + mark)
    (folder / f"{name}.idx").write_bytes(index)
    print(blob.hexdigest())


if __name__ == "__main__":
    main()
