"""Which store for prepared arrays: NumPy files, zarr, blosc2 or TFRecord?

    python benchmarks/store.py

Measures writing, size on disk, and reading whole images and random patches, from a warm cache and in one process. zarr
and blosc2 are no requirements of medcli; `pip install zarr blosc2` to see them, else they are passed over.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

PATCH = 64


@dataclass(frozen=True)
class Store:
    """A way to keep arrays: `write` many, `read` one whole, `patch` a part of one (None: cannot)."""

    name: str
    needs: str
    write: Callable[[Path, list[np.ndarray]], None]
    read: Callable[[Path, int], np.ndarray]
    patch: Callable[[Path, int, tuple[slice, ...]], np.ndarray] | None


def write_npy(folder: Path, arrays: list[np.ndarray]) -> None:
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)


def read_npy(folder: Path, number: int) -> np.ndarray:
    return np.load(folder / f"{number}.npy")


def patch_npy(folder: Path, number: int, where: tuple[slice, ...]) -> np.ndarray:
    return np.array(np.load(folder / f"{number}.npy", mmap_mode="r")[where])


def write_zarr(folder: Path, arrays: list[np.ndarray]) -> None:
    import zarr

    for number, array in enumerate(arrays):
        zarr.create_array(folder / f"{number}.zarr", data=array, chunks=chunks(array))


def read_zarr(folder: Path, number: int) -> np.ndarray:
    import zarr

    return zarr.open_array(folder / f"{number}.zarr", mode="r")[:]


def patch_zarr(folder: Path, number: int, where: tuple[slice, ...]) -> np.ndarray:
    import zarr

    return zarr.open_array(folder / f"{number}.zarr", mode="r")[where]


def write_blosc2(codec: str) -> Callable[[Path, list[np.ndarray]], None]:
    def write(folder: Path, arrays: list[np.ndarray]) -> None:
        import blosc2

        for number, array in enumerate(arrays):
            settings = {"codec": blosc2.Codec[codec], "clevel": 1, "nthreads": 1}
            blosc2.asarray(
                array, urlpath=str(folder / f"{number}.b2nd"), chunks=chunks(array), cparams=settings
            )

    return write


def read_blosc2(folder: Path, number: int) -> np.ndarray:
    import blosc2

    return blosc2.open(str(folder / f"{number}.b2nd"), mode="r", mmap_mode="r", dparams={"nthreads": 1})[:]


def patch_blosc2(folder: Path, number: int, where: tuple[slice, ...]) -> np.ndarray:
    import blosc2

    return blosc2.open(str(folder / f"{number}.b2nd"), mode="r", mmap_mode="r", dparams={"nthreads": 1})[
        where
    ]


def write_records(compression: str) -> Callable[[Path, list[np.ndarray]], None]:
    def write(folder: Path, arrays: list[np.ndarray]) -> None:
        import tensorflow as tf

        for number, array in enumerate(arrays):
            with tf.io.TFRecordWriter(str(folder / f"{number}.tfrecord"), compression) as writer:
                writer.write(tf.io.serialize_tensor(array).numpy())

    return write


def read_records(compression: str) -> Callable[[Path, int], np.ndarray]:
    def read(folder: Path, number: int) -> np.ndarray:
        import tensorflow as tf

        stored = next(iter(tf.data.TFRecordDataset(str(folder / f"{number}.tfrecord"), compression)))
        return tf.io.parse_tensor(stored, tf.float32).numpy()

    return read


STORES = (
    Store("NumPy (.npy, mapped)", "numpy", write_npy, read_npy, patch_npy),
    Store("zarr", "zarr", write_zarr, read_zarr, patch_zarr),
    Store("blosc2 LZ4", "blosc2", write_blosc2("LZ4"), read_blosc2, patch_blosc2),
    Store("blosc2 ZSTD", "blosc2", write_blosc2("ZSTD"), read_blosc2, patch_blosc2),
    Store("TFRecord", "tensorflow", write_records(""), read_records(""), None),
    Store("TFRecord GZIP", "tensorflow", write_records("GZIP"), read_records("GZIP"), None),
)


def chunks(array: np.ndarray) -> tuple[int, ...]:
    return tuple(min(PATCH, n) for n in array.shape)


def images(count: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Smooth structures with noise, of whole numbers as scanners give them, normalised: float32."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        smooth = gaussian_filter(random.normal(size=shape), [6.0] * (len(shape) - 1) + [0])
        values = np.round(400 + 250 * smooth / smooth.std() + random.normal(0, 15, shape))
        made.append(((values - values.mean()) / values.std()).astype(np.float32))
    return made


def measure(store: Store, arrays: list[np.ndarray], reads: int) -> dict[str, Any]:
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as warm:
        store.write(Path(warm), arrays[:1])  # imports the library
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write = timed(lambda: store.write(folder, arrays))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        numbers = random.integers(0, len(arrays), reads)
        store.read(folder, 0)
        whole = timed(lambda: [float(store.read(folder, n).ravel()[0]) for n in numbers]) / reads
        row = {"write": write / len(arrays), "size": size / len(arrays), "whole": whole, "patch": whole}
        if store.patch is not None:
            spots = [tuple(random.integers(0, n - PATCH + 1) for n in arrays[0].shape[:-1]) for _ in numbers]
            parts = [tuple(slice(at, at + PATCH) for at in spot) for spot in spots]
            jobs = list(zip(numbers, parts, strict=True))
            row["patch"] = timed(lambda: [store.patch(folder, n, part).sum() for n, part in jobs]) / reads
        return row


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> None:
    for title, count, shape, reads in (
        ("volumes 128 x 192 x 160 x 1", 4, (128, 192, 160, 1), 24),
        ("pictures 512 x 512 x 3", 24, (512, 512, 3), 96),
    ):
        arrays = images(count, shape)
        print(f"\n{title}, float32, {arrays[0].nbytes / 2**20:.1f} MiB each; milliseconds per image")
        print(f"{'':22}{'write':>9}{'MiB':>8}{'whole':>9}{f'patch {PATCH}':>10}")
        for store in STORES:
            if importlib.util.find_spec(store.needs) is None:
                print(f"{store.name:22}not installed")
                continue
            row = measure(store, arrays, reads)
            print(
                f"{store.name:22}{row['write'] * 1e3:9.1f}{row['size'] / 2**20:8.1f}"
                f"{row['whole'] * 1e3:9.1f}{row['patch'] * 1e3:10.2f}"
            )


if __name__ == "__main__":
    main()
