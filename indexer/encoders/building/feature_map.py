"""The last feature map inside an exported encoder, found from its descriptor back.

The descriptor comes from a reduction of the four-dimensional map to two dimensions: a mean or a
maximum over height and width, in GeM behind a maximum and a power; in regional GeM from one more,
of what pooling over windows gives (:mod:`.assemble`).  So a model that is on the disk already gives
its map too, without Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from parecido.indexer.encoders.machine.imports import import_openvino

__all__ = ["feature_map", "sources", "with_feature_map"]

# the operations from the reduction back to the map, it left out
_GEM = ("ReduceMean", "Power", "Maximum")
_WAY = {"avg": ("ReduceMean",), "max": ("ReduceMax",), "gem": _GEM, "rgem": _GEM}

_Table = dict[tuple[int, ...], bool]
# whether the channels come last: by the axes that are reduced, and behind a transpose
_AXES: _Table = {(1, 2): True, (2, 3): False}
_ORDERS: _Table = {(0, 2, 3, 1): True, (0, 3, 1, 2): False}


def with_feature_map(model: Any, pooling: str) -> Any:
    """A copy of an OpenVINO model with its feature map as the last output.

    ``(n, h, w, channels)`` float32.  Raises ``LookupError`` where the map cannot be told.
    """
    openvino = import_openvino()
    copy = model.clone()
    features, channels_last = feature_map(copy, pooling)
    if not channels_last:
        order = np.array([0, 2, 3, 1])
        features = openvino.opset8.transpose(features, order).output(0)
    return openvino.Model([*copy.outputs, features], copy.get_parameters())


def feature_map(model: Any, pooling: str) -> tuple[Any, bool]:
    """The output of the network's last layer before pooling, and whether its channels come last.

    Raises ``LookupError`` where the graph is not as :func:`~.assemble.assemble` makes it.
    """
    if pooling not in _WAY:
        raise LookupError(f"pooling {pooling} has no feature map")
    found, wrong = [], ["no reduction of a feature map"]
    for reduction in _reductions(model.outputs[0].get_node()):
        try:
            found.append(_behind(reduction, _WAY[pooling]))
        except LookupError as error:
            wrong.append(str(error))
    if len(found) != 1:
        raise LookupError(f"expected one feature map, got {len(found)}; {wrong[-1]}")
    return found[0]


def _behind(reduction: Any, way: tuple[str, ...]) -> tuple[Any, bool]:
    """What a reduction over height and width takes, past the operations that belong to it."""
    _check(reduction, way[0])
    channels_last = _look_up(_AXES, [axis % 4 for axis in _constant(reduction)])
    features = reduction.input_value(0)
    for kind in way[1:]:
        while features.get_node().get_type_name() == "Transpose":
            turn = features.get_node()
            if _look_up(_ORDERS, _constant(turn)) != channels_last:
                raise LookupError("a transpose that gives another order than is reduced")
            channels_last = not channels_last
            features = turn.input_value(0)
        _check(features.get_node(), kind)
        features = features.get_node().input_value(0)
    return features, channels_last


def _check(node: Any, kind: str) -> None:
    if node.get_type_name() != kind:
        raise LookupError(f"expected {kind}, got {node.get_type_name()}")


def sources(node: Any) -> list[Any]:
    """The operations that a node takes its inputs from, constants left out."""
    found = [value.get_source_output().get_node() for value in node.inputs()]
    return [source for source in found if source.get_type_name() != "Constant"]


def _reductions(node: Any) -> list[Any]:
    """The operations behind a node that have a four-dimensional input and give less."""
    waiting, found, seen = [node], {}, set()
    while waiting:
        node = waiting.pop()
        for source in sources(node):
            if len(source.output(0).get_partial_shape()) >= 4:
                found[node.get_friendly_name()] = node
            elif source.get_friendly_name() not in seen:
                seen.add(source.get_friendly_name())
                waiting.append(source)
    return list(found.values())


def _constant(node: Any) -> list[int]:
    """The whole numbers in a node's second input."""
    constant = node.input_value(1).get_node()
    _check(constant, "Constant")
    return [int(number) for number in constant.get_data().flatten()]


def _look_up(table: _Table, key: list[int]) -> bool:
    if tuple(key) not in table:
        raise LookupError(f"expected {' or '.join(map(str, table))}, got {key}")
    return table[tuple(key)]
