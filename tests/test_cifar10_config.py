"""configs/cifar10.yaml the whole way on a small stand-in of the published files: the textbook's network comes out."""

from pathlib import Path

import numpy as np
from cifar_files import write_cifar

from medcli.config.loading import load_config
from medcli.preprocessing.build import preprocess

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "cifar10.yaml"


def test_the_textbook_network_on_the_textbook_data(tmp_path):
    from medcli.prediction.predict import predict
    from medcli.run import Run
    from medcli.training import train

    data = write_cifar(tmp_path / "cifar-10-batches-py", count=60)
    settings = load_config(CONFIG, [f"data.root={data}", "preprocess.workers=1"])
    done = preprocess(settings, tmp_path / "prepared")
    assert done.splits == {"train": 108, "val": 12, "test": 60} and not done.problems
    train(settings, tmp_path / "prepared", tmp_path / "run", smoke=True)

    network = Run.open(tmp_path / "run").load_model()
    layers = [(layer.name, tuple(layer.output.shape[1:])) for layer in network.layers]
    assert layers == [
        ("image", (32, 32, 3)), ("stage1_conv", (32, 32, 32)), ("stage1_relu", (32, 32, 32)),
        ("stage1_pool", (16, 16, 32)),
        ("stage2_conv", (16, 16, 64)), ("stage2_relu", (16, 16, 64)), ("stage2_pool", (8, 8, 64)),
        ("flatten", (4096,)), ("hidden", (64,)), ("logits", (10,)),
    ]  # fmt: skip
    assert network.count_params() == 282_250

    summary = predict(tmp_path / "run", [data / "test_batch"], tmp_path / "out")
    assert summary.done == 60
    table = np.genfromtxt(
        tmp_path / "out" / "predictions.csv", delimiter=",", skip_header=1, usecols=range(2, 12)
    )
    assert table.shape == (60, 10) and np.allclose(table.sum(1), 1, atol=1e-4)
