"""The table of Keras Applications against Keras itself."""

from __future__ import annotations

import pytest

from parecido.indexer.encoders.networks.applications import APPLICATIONS, Application

pytestmark = [pytest.mark.network, pytest.mark.filterwarnings("ignore")]

EXPECTED = {
    *("vgg16", "vgg19", "resnet50", "resnet101", "resnet152"),
    *("resnet50v2", "resnet101v2", "resnet152v2"),
    *("inceptionv3", "inceptionresnetv2", "xception"),
    *("mobilenet", "mobilenetv2", "mobilenetv3large", "mobilenetv3small"),
    *("densenet121", "densenet169", "densenet201", "nasnetmobile", "nasnetlarge"),
    *(f"efficientnetb{n}" for n in range(8)),
    *(f"efficientnetv2{n}" for n in ("b0", "b1", "b2", "b3", "s", "m", "l")),
    *(f"convnext{n}" for n in ("tiny", "small", "base", "large", "xlarge")),
}


def test_the_table_has_every_network() -> None:
    assert {network.name for network in APPLICATIONS} == EXPECTED


# One of each family and of each way of naming files; building all forty takes a quarter of an hour.
BUILT = {
    *("vgg16", "resnet50", "resnet50v2", "inceptionv3", "xception", "mobilenet", "mobilenetv2"),
    *("mobilenetv3small", "densenet121", "efficientnetb0", "efficientnetv2b0", "convnexttiny"),
}


class Asked(Exception):
    """Raised in place of a download."""


@pytest.mark.parametrize(
    "network", [n for n in APPLICATIONS if n.name in BUILT], ids=lambda network: network.name
)
def test_a_row_tells_keras_own_file_size_and_dimension(
    network: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    from keras.src.utils import file_utils

    asked = []

    def get_file(fname: str, *_: object, **__: object) -> str:
        asked.append(fname)
        raise Asked

    constructor = getattr(keras.applications, network.constructor.rpartition(".")[2])
    headless = constructor(include_top=False, weights=None)
    assert network.dimension == headless.output_shape[-1]
    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(Asked):
        constructor(include_top=True, weights="imagenet")
    assert asked == [network.top_file]
    if network.headless_file:
        with pytest.raises(Asked):
            constructor(include_top=False, weights="imagenet")
        assert asked[1:] == [network.headless_file]


def test_native_sizes_are_the_published_ones() -> None:
    sides = {network.name: network.native for network in APPLICATIONS}
    assert {sides[n] for n in ("inceptionv3", "inceptionresnetv2", "xception")} == {299}
    assert (sides["nasnetmobile"], sides["nasnetlarge"]) == (224, 331)
    b = [sides[f"efficientnetb{n}"] for n in range(8)]
    assert b == [224, 240, 260, 300, 380, 456, 528, 600]
    v2 = [sides[f"efficientnetv2{n}"] for n in ("b0", "b1", "b2", "b3", "s", "m", "l")]
    assert v2 == [224, 240, 260, 300, 384, 480, 480]
    assert {sides[f"convnext{n}"] for n in ("tiny", "small", "base", "large", "xlarge")} == {224}
