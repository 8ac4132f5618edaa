"""Which paths lie below which."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parecido.indexer.system.paths import lies_in, list_above, within

PATHS = st.lists(st.sampled_from([b"a", b"b", b"a b", b".a"]), max_size=4).map(
    lambda names: b"/" + b"/".join(names)
)


@given(path=PATHS, folders=st.frozensets(PATHS, max_size=4))
def test_a_path_lies_in_many_folders_as_it_lies_in_each(
    path: bytes, folders: frozenset[bytes]
) -> None:
    assert lies_in(path, folders) == any(within(path, folder) for folder in folders)


def test_the_folders_above_a_path_come_from_the_innermost_to_the_root() -> None:
    assert list(list_above(b"/a/b/c")) == [b"/a/b", b"/a", b"/"]
    assert list(list_above(b"/")) == []
