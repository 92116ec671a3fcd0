"""CIFAR-10's batches and Keras' `.npz`: read as they lie on disk, and never run."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from cifar_files import pictures, python_2, write_cifar

from medcli.case import Source
from medcli.config.loading import load_config
from medcli.errors import DataError, FormatError
from medcli.io.cases import discover
from medcli.io.cifar import load_batch
from medcli.io.inputs import find_inputs
from medcli.io.readers import format_of, read_image

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "cifar10.yaml"


@pytest.fixture
def folder(tmp_path):
    return write_cifar(tmp_path / "cifar-10-batches-py")


def test_the_stand_in_is_read_by_keras_too(folder):
    """As keras.src.datasets.cifar.load_batch does it; so the stand-in is of the format that Keras gives."""
    with open(folder / "data_batch_1", "rb") as stream:
        content = pickle.load(stream, encoding="bytes")
    assert np.array_equal(content[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), pictures(20))
    images, labels = load_batch(folder / "data_batch_1")
    assert np.array_equal(images, pictures(20)) and labels == content[b"labels"]


def test_the_config_finds_and_reads_it(folder):
    found = discover(load_config(CONFIG, [f"data.root={folder}"]))
    assert found.format == "cifar" and len(found.cases) == 60 and not found.problems
    assert [found.cases[index].name for index in (0, 25, 59)] == [
        "data_batch_1_00000", "data_batch_2_00005", "test_batch_00019",
    ]  # fmt: skip
    assert [case.split for case in found.cases] == ["train"] * 40 + ["test"] * 20
    assert found.cases[25].classes == ("dog",) and found.classes[9] == "truck"
    assert np.array_equal(read_image(found.cases[25].images[0]).array, pictures(20, 1)[5])


def test_without_settings(folder):
    """The layout is recognised, and the names come from batches.meta."""
    from medcli.config.loading import from_dict

    found = discover(from_dict({"task": "classification", "data": {"root": str(folder)}}))
    assert found.format == "cifar" and found.classes[:2] == ["airplane", "automobile"]


def test_as_input_of_predict(folder):
    assert format_of(folder / "test_batch").name == "CIFAR batch"
    cases = find_inputs([folder / "test_batch"])
    assert len(cases) == 20 and cases[3].name == "test_batch_00003"
    assert len(find_inputs([folder])) == 60
    with pytest.raises(FormatError, match="holds 20 images"):
        read_image(folder / "test_batch")
    with pytest.raises(FormatError, match="holds 20 images"):
        read_image(Source(folder / "test_batch", "[20]"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_batches_written_by_python_3(tmp_path, protocol):
    content = {"batch_label": "x", "labels": [1, 2], "data": pictures(2).transpose(0, 3, 1, 2).reshape(2, -1)}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content, protocol=protocol))
    images, labels = load_batch(tmp_path / "data_batch_1")
    assert np.array_equal(images, pictures(2)) and labels == [1, 2]
    del content["batch_label"]
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps(content, protocol=protocol))
    assert np.array_equal(read_image(Source(tmp_path / "data_batch_2", "[1]")).array, pictures(2)[1])


def bad(**changes):
    content = {b"batch_label": b"x", b"labels": [1, 2], b"data": np.zeros((2, 3072), np.uint8)} | {
        key.encode(): value for key, value in changes.items()
    }
    return b"\x80\x02" + python_2(content) + b"."


ran: list[str] = []


class Program:
    def __reduce__(self):
        return ran.append, ("it ran",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"batch_label": "x", "labels": [1], "data": Program()}),
        b"\x80\x02cposix\nsystem\nU\x04true\x85R.",
        b"\x80\x02cnumpy\ndtype\nN}U\x04evilK\x01s\x86b.",
        b"\x80\x02}U\x0bbatch_labelK\x01sr\xff\xff\xff\x7f.",
        bad()[:-50],
        bad(data=np.zeros((2, 3071), np.uint8)),
        bad(data=np.zeros((3, 3072), np.uint8)),
        bad(labels=[1]),
        bad(labels=[b"1", b"2"]),
        bad(data=b"text"),
        bad().replace(b"u1", b"O8"),
        b"\x80\x02]U\x0bbatch_labela.",
    ],
    ids=["function", "system", "attributes", "memory", "cut", "width", "length",
         "labels", "text", "data", "objects", "list"],
)  # fmt: skip
def test_hostile_and_damaged_files_are_refused(tmp_path, data):
    (tmp_path / "data_batch_1").write_bytes(data)
    with pytest.raises(FormatError):
        load_batch(tmp_path / "data_batch_1")
    assert not ran


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="data_batch_1"):
        discover(load_config(CONFIG, [f"data.root={tmp_path}"]))


def test_npz_as_keras_keeps_it(tmp_path):
    """mnist.npz of keras.datasets, and what np.savez makes of load_data()."""
    np.savez(
        tmp_path / "a.npz",
        x_train=pictures(4),
        y_train=[[0], [1], [2], [1]],
        x_test=pictures(2, 1),
        y_test=[[2], [0]],
    )
    found = discover(load_config(CONFIG, [f"data.root={tmp_path}", "data.format=npz", "data.images=a.npz"]))
    assert [case.name for case in found.cases] == [f"train_0000{i}" for i in range(4)] + [
        "test_00000",
        "test_00001",
    ]
    assert [case.split for case in found.cases] == ["train"] * 4 + ["test"] * 2
    assert found.cases[3].classes == ("automobile",)
    assert np.array_equal(read_image(found.cases[5].images[0]).array, pictures(2, 1)[1])
    assert [case.name for case in find_inputs([tmp_path / "a.npz"])] == [case.name for case in found.cases]


def test_arrays_that_only_begin_with_x(tmp_path):
    np.savez(tmp_path / "a.npz", xray_images=pictures(2), xray_labels=[0, 1], x_offset=np.zeros(3))
    found = discover(load_config(CONFIG, [f"data.root={tmp_path}", "data.format=npz", "data.images=a.npz"]))
    assert [case.name for case in found.cases] == ["xray_00000", "xray_00001"]
