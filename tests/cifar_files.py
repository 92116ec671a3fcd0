"""A small stand-in for CIFAR-10 in the format of the published files."""

import struct

import numpy as np


def python_2(value) -> bytes:
    """A value as Python 2 pickled it in protocol 2, as the published files are: byte strings, an array by name."""
    match value:
        case bytes() if len(value) < 256:
            return b"U" + struct.pack("<B", len(value)) + value
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case int():
            return b"K" + struct.pack("<B", value)
        case list():
            return b"](" + b"".join(map(python_2, value)) + b"e"
        case dict():
            return b"}(" + b"".join(python_2(part) for item in value.items() for part in item) + b"u"
        case np.ndarray():
            dtype = (
                b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            )
            shape = b"".join(b"J" + struct.pack("<i", n) for n in value.shape)
            head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
            return head + b"(K\x01(" + shape + b"t" + dtype + b"\x89" + python_2(value.tobytes()) + b"tb"
    raise TypeError(type(value))


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def write_cifar(folder, batches=2, count=20):
    """A small stand-in in the format of the published files."""
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{number + 1}" for number in range(batches)), "test_batch"]
    for number, name in enumerate(names):
        content = {
            b"batch_label": name.encode(),
            b"labels": [index % 10 for index in range(count)],
            b"data": pictures(count, number).transpose(0, 3, 1, 2).reshape(count, -1),
            b"filenames": [f"picture_{index}.png".encode() for index in range(count)],
        }
        (folder / name).write_bytes(b"\x80\x02" + python_2(content) + b".")
    names = [
        b"airplane",
        b"automobile",
        b"bird",
        b"cat",
        b"deer",
        b"dog",
        b"frog",
        b"horse",
        b"ship",
        b"truck",
    ]
    meta = {b"num_cases_per_batch": 20, b"label_names": names, b"num_vis": 32}
    (folder / "batches.meta").write_bytes(b"\x80\x02" + python_2(meta) + b".")
    return folder
