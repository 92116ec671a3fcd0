"""Model files from strangers: every known trick is refused with one sentence, before Keras sees it."""

import json
import struct
import zipfile

import h5py
import numpy as np
import pytest

from medcli import sandbox
from medcli.errors import RunError
from medcli.models import safety
from medcli.models.safe_config import LAYERS, MAX_DEPTH, check_config
from medcli.models.safety import (
    check_model_file,
    load_model_safely,
    load_weights_safely,
    verify_checksum,
    write_checksum,
)
from tests import unruly


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left():
    yield
    sandbox.close()


def layer(class_name="Dense", module="keras.layers", **config):
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def network(*layers):
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "net", "layers": [layer("InputLayer", batch_shape=[None, 3]), *layers]},
        "registered_name": None,
    }


def weights_file(path, edit=lambda file: None):
    with h5py.File(path, "w") as file:
        dense = file.create_group("layers/dense/vars")
        dense["0"] = np.zeros((3, 2), np.float32)
        dense["1"] = np.zeros(2, np.float32)
        edit(file)
    return path.read_bytes()


@pytest.fixture
def make(tmp_path):
    """Write a `.keras` file by hand; parts may be replaced."""

    def write(name="net.keras", *, config=None, weights=None, extra=(), compression=zipfile.ZIP_STORED):
        config = network(layer(units=2)) if config is None else config
        parts = {
            "metadata.json": b'{"keras_version": "3.15.1"}',
            "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
            "model.weights.h5": weights or weights_file(tmp_path / "weights.h5"),
        }
        with zipfile.ZipFile(tmp_path / name, "w", compression) as archive:
            for member, content in [*parts.items(), *extra]:
                archive.writestr(member, content)
        return tmp_path / name

    return write


def refused(path, words):
    with pytest.raises(RunError, match=words) as caught:
        check_model_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_honest_file_passes_and_tells_its_parameters(make):
    assert check_model_file(make()) == 3 * 2 + 2


@pytest.mark.parametrize("name", ["net.h5", "net.hdf5", "net.pb", "net.zip"])
def test_other_kinds_of_files_are_refused(make, name):
    refused(make(name), "expected a .keras file")


def test_folders_missing_files_and_addresses_are_refused(tmp_path):
    refused(tmp_path, "found a folder")
    refused(tmp_path / "none.keras", "no such model file")
    refused("hf://someone/net.keras", "expected a file on this computer")
    refused("https://example.org/net.keras", "expected a file on this computer")


@pytest.mark.parametrize("member", ["../escape.txt", "assets/../../x", "/etc/x", "assets/vocabulary.txt"])
def test_members_beyond_the_three_are_refused(make, member):
    refused(make(extra=[(member, b"x")]), "nothing else inside")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_refused(make):
    refused(make(extra=[("config.json", b"{}")]), "nothing else inside")


def test_a_member_that_inflates_is_refused(make):
    text = json.dumps(network()).encode() + b" " * 17 * 2**20
    refused(make(config=text, compression=zipfile.ZIP_DEFLATED), "config.json would take 17 MiB")
    text = json.dumps(network()).encode() + b" " * 4 * 2**20
    refused(make(config=text, compression=zipfile.ZIP_DEFLATED), "grows more than 100 times")


def test_a_false_size_in_the_directory_is_refused(make):
    path = make(config=json.dumps(network()).encode() + b" " * 4 * 2**20, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"config.json"))
    content[entry + 24 : entry + 28] = struct.pack("<I", 100)  # uncompressed size
    path.write_bytes(content)
    refused(path, "damaged|cannot be read")


def test_a_file_cut_short_is_told_as_such(make):
    path = make()
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, "not a whole .keras file")


def test_one_changed_bit_is_noticed(make):
    path = make()
    content = bytearray(path.read_bytes())
    content[content.index(b"Sequential") + 2] ^= 1
    path.write_bytes(content)
    refused(path, "not a whole .keras file")


def test_the_checksum_beside_the_file_must_match(make):
    path = make()
    beside = write_checksum(path)
    assert beside.read_text().split() == [beside.read_text()[:64], "net.keras"]
    assert check_model_file(path) == 8
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"changed later"
    refused(path, "does not match net.keras.sha256")
    beside.write_text("not a checksum\n")
    with pytest.raises(RunError, match="expected a SHA-256 checksum"):
        verify_checksum(path)


@pytest.mark.parametrize(
    "bad",
    [
        layer("Lambda", function={"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}),
        layer("TFSMLayer", filepath="/tmp/saved_model"),
        layer("StringLookup", vocabulary="/etc/passwd"),
        layer("TextVectorization", vocabulary="/etc/passwd"),
        layer("TorchModuleWrapper", module={}),
        layer("Popen", module="subprocess", args=["true"]),
        layer("system", module="os", command="true"),
        layer("clone_model", module="keras.models"),
        layer("get_file", module="keras.utils", origin="http://localhost/"),
        layer("Dense", module="keras.layers.core.."),
        layer("Dense", module=None),
        layer("Dense", module=["keras.layers"]),
        layer(["Dense"]),
        layer("WhileLoop", module="keras.src.ops.core"),
        layer(
            activation={
                "class_name": "function",
                "module": "os",
                "config": "system",
                "registered_name": "system",
            }
        ),
        layer(
            activation={
                "class_name": "function",
                "module": "builtins",
                "config": "eval",
                "registered_name": "function",
            }
        ),
        layer(
            activation={
                "class_name": "function",
                "module": "builtins",
                "config": "relu",
                "registered_name": "x>y",
            }
        ),
        {**layer(), "registered_name": "other>Dense"},
        {**layer(module="os"), "registered_name": "medcli>Dense"},
        layer("TimeDistributed", layer=layer("Lambda")),
        {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}},
        {"class_name": "__typespec__", "config": [], "module": "tensorflow", "spec_name": "x"},
    ],
)
def test_whatever_is_not_on_the_list_is_refused(make, bad):
    refused(make(config=network(bad)), "not on the list of harmless layers")


@pytest.mark.parametrize(
    "good",
    [
        layer(
            units=2,
            activation="relu",
            kernel_initializer=layer("GlorotUniform", "keras.initializers", seed=1),
        ),
        layer(
            activation={
                "class_name": "function",
                "module": "builtins",
                "config": "gelu",
                "registered_name": "gelu",
            }
        ),
        layer("Add", "keras.src.ops.numpy"),
        {**layer("Resize", "medcli.models.blocks"), "registered_name": "medcli>Resize"},
        layer("Conv3D", filters=8, dtype=layer("DTypePolicy", "keras", name="mixed_bfloat16")),
    ],
)
def test_what_our_networks_are_made_of_passes(make, good):
    assert check_model_file(make(config=network(good))) == 8


def test_the_training_state_is_left_aside(make):
    config = network(layer(units=2)) | {"compile_config": {"loss": layer("Popen", "subprocess")}}
    assert check_model_file(make(config=config)) == 8


def test_absurd_sizes_are_refused(make):
    refused(make(config=network(layer(units=300_000_000))), r"units = 3e\+08, at most 65536")
    refused(make(config=network(layer("Conv2D", filters=-1))), "filters = -1")


def test_deep_nesting_is_refused():
    with pytest.raises(RunError, match=f"more than {MAX_DEPTH} deep"):
        check_config(
            b'{"class_name": "Sequential", "module": "keras", "config": ' + b"[" * 200 + b"]" * 200 + b"}",
            "f",
        )
    with pytest.raises(RunError, match="cannot be read"):
        check_config(b"[" * 1_000_000, "f")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"class_name": ' + b"9" * 10_000 + b"}"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(RunError, match="cannot be read"):
        check_config(text, "net.keras")


@pytest.mark.parametrize("text", [b"[]", b"3", b'{"name": "x"}'])
def test_json_of_something_else_is_refused(text):
    with pytest.raises(RunError, match=r"expected config\.json to describe a Keras network"):
        check_config(text, "net.keras")


def external(file):
    file.create_dataset("x", (10,), "f4", external=[("/etc/hostname", 0, 40)])


def virtual(file):
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (10,))
    file.create_virtual_dataset("x", layout)


def put(name, value):
    return lambda file: file.__setitem__(name, value)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (put("x", h5py.ExternalLink("/etc/passwd", "/")), "link to another place"),
        (put("x", h5py.SoftLink("/layers")), "link to another place"),
        (external, "lies in another file"),
        (virtual, "lies in another file"),
        (
            lambda file: file.create_dataset("x", (100_000, 100_000), "f4", chunks=(100, 100)),
            "claims far more",
        ),
        (
            lambda file: file.create_dataset(
                "x", (2000, 2000), "f4", compression="gzip", data=np.zeros((2000, 2000))
            ),
            "claims far more",
        ),
        (put("x", "text"), "not made of numbers"),
        (put("x", np.array(["a", "b"], h5py.string_dtype())), "not made of numbers"),
        (lambda file: file.create_dataset("x", data=np.arange(9), compression="lzf"), "unusual way"),
        (lambda file: file["layers"].__setitem__("again", file["layers"]), "one entry under two names"),
    ],
)
def test_weights_that_point_elsewhere_or_lie_about_their_size_are_refused(make, tmp_path, edit, words):
    refused(make(weights=weights_file(tmp_path / "bad.h5", edit)), words)


def test_weights_that_are_no_hdf5_are_refused(make):
    refused(make(weights=b"not HDF5 at all"), "weights inside cannot be read")


def test_an_array_that_cannot_be_unpacked_is_found_before_keras_reads_it(make, tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    written = weights_file(
        tmp_path / "packed.h5", lambda file: file.create_dataset("x", data=values, compression="gzip")
    )
    with h5py.File(tmp_path / "packed.h5") as file:
        chunk = file["x"].id.get_chunk_info(0)
    place = chunk.byte_offset + chunk.size // 2
    assert check_model_file(make(weights=written)) == 8 + 300 * 300
    damaged = written[:place] + bytes(16) + written[place + 16 :]
    refused(make(weights=damaged), "weights inside cannot be read")


def test_a_file_on_which_a_library_crashes_is_refused(make, tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "_unpack", unruly.crash)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    refused(make(), r"net.keras: the library that reads it crashed \(SIGSEGV\); refused")
    assert not list((tmp_path / "t").iterdir())


def test_nothing_is_left_in_the_temporary_folder(make, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    check_model_file(make())
    with pytest.raises(RunError):
        check_model_file(make(weights=b"broken"))
    assert not list((tmp_path / "t").iterdir())


# ---- with Keras


def small(units=2):
    import keras

    inputs = keras.Input((6, 5, 1))
    x = keras.layers.Conv2D(4, 3, name="convolution")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5)(keras.ops.relu(x))
    return keras.Model(inputs, keras.layers.Dense(units, name="last")(keras.layers.Flatten()(x)))


def test_weights_of_an_own_network_come_back(tmp_path):
    model = small()
    model.save(tmp_path / "net.keras")
    other = small()
    load_weights_safely(other, tmp_path / "net.keras")
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    foreign = load_model_safely(tmp_path / "net.keras")
    image = np.random.default_rng(0).normal(size=(2, 6, 5, 1)).astype(np.float32)
    np.testing.assert_allclose(foreign(image), model(image), rtol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path):
    small(units=3).save(tmp_path / "net.keras")
    with pytest.raises(RunError, match=r"the weights do not fit this network \(layer last\)"):
        load_weights_safely(small(), tmp_path / "net.keras")


def test_a_network_that_asks_for_more_than_the_file_holds_is_refused_without_building_it(make, tmp_path):
    big = network(layer(units=60_000, name="a"), layer(units=60_000, name="b"))
    with pytest.raises(RunError, match=r"asks for 3,600,300,000 parameters, the file holds 8"):
        load_model_safely(make(config=big))
    with pytest.raises(RunError, match="cannot rebuild this network"):
        load_model_safely(make(config=network(layer("Conv2D", filters=3, kernel_size=3))))


def test_every_layer_on_the_list_exists():
    import keras

    assert [name for name in LAYERS if not hasattr(keras.layers, name)] == []
