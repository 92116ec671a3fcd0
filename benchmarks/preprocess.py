"""How long `preprocess` takes on the public data sets, first and second run, and its peak memory.

    python benchmarks/preprocess.py [DATA] [NAME...]

DATA is the folder with the sets that data/README.md lists, by default data/; sets that are not there are passed over.
"""

import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, sleep

import psutil

from medcli.config.loading import load_config
from medcli.preprocessing.build import preprocess

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class PeakMemory:
    """Largest sum of the unshared memory of this process and its children, sampled five times a second."""

    def __enter__(self) -> "PeakMemory":
        self.bytes, self._on = 0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *fault) -> None:
        self._on = False
        self._thread.join()

    def _watch(self) -> None:
        while self._on:
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    total += process.memory_full_info().uss
                except psutil.Error:
                    continue
            self.bytes = max(self.bytes, total)
            sleep(0.2)


def measure(name: str, data: Path) -> None:
    config = load_config(CONFIGS / f"{name}.yaml", [f"data.root={data / name}"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        with PeakMemory() as peak:
            first = preprocess(config, out)
        began = perf_counter()
        second = preprocess(config, out)
        again = perf_counter() - began
        size = sum(path.stat().st_size for path in out.rglob("*.npy"))
    assert second.reused == first.cases
    print(
        f"{name:18}{first.cases:7}{first.left_out:6}{first.seconds:9.1f}{again:9.1f}"
        f"{peak.bytes / 2**20:10.0f}{size / 2**20:10.0f}",
        flush=True,
    )


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else CONFIGS.parent / "data").resolve()
    names = sys.argv[2:] or sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    print(f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}")
    print(f"{'set':18}{'cases':>7}{'out':>6}{'first s':>9}{'again s':>9}{'peak MiB':>10}{'disk MiB':>10}")
    for name in names:
        if (data / name).is_dir():
            measure(name, data)


if __name__ == "__main__":
    main()
