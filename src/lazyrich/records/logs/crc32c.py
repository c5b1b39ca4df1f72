"""The checksum of event files, of many records at a time."""

import numpy as np
from jaxtyping import Int, UInt32

_POLYNOMIAL = 0x82F63B78


def _table() -> UInt32[np.ndarray, " 256"]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = _table()


def masked_crc32c(
    data: np.ndarray, starts: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"]
) -> UInt32[np.ndarray, " n"]:
    """CRC-32C of parts of `data`, masked as event files do.

    All parts are computed at a time, byte by byte, the longest first, so that the time is that of
    their bytes.

    - **Takes** `data`, bytes as `uint8`; where each part begins, and its length.
    - **Source** Castagnoli's polynomial, reflected: RFC 3720, appendix B.4 has values to test with.
    """
    order = np.argsort(-lengths, kind="stable")
    begins, sizes = starts[order], lengths[order]
    crc = np.full(len(order), 0xFFFFFFFF, dtype=np.uint32)
    # For each position, how many parts are longer.
    most = int(sizes[0]) if len(sizes) else 0
    longer = np.searchsorted(-sizes, -np.arange(most), side="left")
    for place in range(most):
        num = int(longer[place])
        part = crc[:num]
        crc[:num] = _TABLE[(part ^ data[begins[:num] + place]) & 0xFF] ^ (part >> 8)
    crc ^= np.uint32(0xFFFFFFFF)
    rotated = (crc >> np.uint32(15)) | (crc << np.uint32(17))
    found = np.empty_like(crc)
    found[order] = rotated + np.uint32(0xA282EAD8)
    return found
