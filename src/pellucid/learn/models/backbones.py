"""The convolutional stages of published classifiers, as encoders and as measures of likeness.

Written from the architectures as published; only the weights come from elsewhere (`imagenet`).
What follows the convolutions, the classifier itself, is left out.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError, unknown
from pellucid.learn import imagenet
from pellucid.learn.models.blocks import Reach, initialise


class Backbone(nn.Module):
    """Feature maps of a picture, one from each stage, each of half the size of the one before.

    Attributes:
        widths: Channels of each stage's features.
        convs: How many convolutions or blocks of them each stage has, for a decoder to mirror.
        frozen: No gradients, and the statistics of normalisations stay as they are in training.
    """

    STAGES: ClassVar[tuple[int, ...]] = ()
    """Channels of all stages that there are."""
    CONVS: ClassVar[tuple[int, ...]] = ()
    MEAN: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    STD: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)
    """What the published weights expect to be taken off a picture, and what it is divided by."""

    def __init__(self, stages: int) -> None:
        super().__init__()
        if not 1 <= stages <= len(self.STAGES):
            raise OptionError(f"stages is {stages}; there are from 1 to {len(self.STAGES)}")
        self.widths = self.STAGES[:stages]
        self.convs = self.CONVS[:stages]
        self.frozen = False
        self.register_buffer("mean", torch.tensor(self.MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(self.STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """One feature map from each stage.

        Args:
            x: (B, 3, H, W) in [0, 1]; H and W are free.

        Returns:
            (B, widths[i], H / 2^(i+1), W / 2^(i+1)) each, rounded down ('vgg16') or up
            ('efficientnet_lite0') where a size is odd.
        """
        return self.features_of((x - self.mean) / self.std)  # type: ignore[operator]

    def features_of(self, x: Tensor) -> list[Tensor]:
        """One feature map from each stage, of pictures that are normalised already."""
        raise NotImplementedError

    def reach(self) -> Reach:
        """How far the last stage's features see."""
        raise NotImplementedError

    def renamed(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published weights by the names that they have here; those of later stages left out."""
        raise NotImplementedError

    def take(self, published: dict[str, Tensor]) -> None:
        """Use the weights that a classifier's authors published."""
        self.load_state_dict(self.state_dict() | self.renamed(published))

    def freeze(self) -> Backbone:
        """Let training leave this as it is; itself."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """As `torch.nn.Module.train`; what is frozen stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self


class VGG16(Backbone):
    """3x3 convolutions between poolings, named as torchvision names them.

    Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, configuration D. A stage ends with
    its pooling.
    """

    STAGES = (64, 128, 256, 512, 512)
    CONVS = (2, 2, 3, 3, 3)

    def __init__(self, stages: int = 5) -> None:
        super().__init__(stages)
        layers: list[nn.Module] = []
        inputs = 3
        for width, convs in zip(self.widths, self.convs, strict=True):
            for _ in range(convs):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def features_of(self, x: Tensor) -> list[Tensor]:
        """After each pooling."""
        found = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
        return found

    def reach(self) -> Reach:
        """How far the last stage's features see."""
        reach = Reach()
        for convs in self.convs:
            reach.conv(3, convs)
            reach.down()
        return reach

    def renamed(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """The names are the same."""
        return {name: published[name] for name in self.state_dict() if name in published}


_LITE0 = (
    ((1, 3, 1, 16, 1),),
    ((2, 3, 2, 24, 6),),
    ((2, 5, 2, 40, 6),),
    ((3, 3, 2, 80, 6), (3, 5, 1, 112, 6)),
    ((4, 5, 2, 192, 6), (1, 3, 1, 320, 6)),
)
"""For each stage its groups: blocks, kernel, stride of the first block, width, expansion."""


class EfficientNetLite0(Backbone):
    """Inverted bottlenecks without squeeze-and-excitation, with ReLU6.

    Tan and Le 2019, https://arxiv.org/abs/1905.11946, network B0; the authors' "lite" form leaves
    out the attention and bounds the activations. A stage ends before the next halving.
    """

    STAGES = tuple(groups[-1][3] for groups in _LITE0)
    CONVS = tuple(sum(group[0] for group in groups) for groups in _LITE0)
    # The lite networks were trained on bytes less 127, over 128. The package that brings the
    # weights tells the usual mean and deviation of ImageNet, with which the network is less sure of
    # the right class: 0.36, 0.82 and 0.18 in place of 0.40, 0.94 and 0.30 (scikit-image's cat,
    # coffee and rocket).
    MEAN = (127 / 255,) * 3
    STD = (128 / 255,) * 3

    def __init__(self, stages: int = 5) -> None:
        super().__init__(stages)
        stem = [SameConv2d(3, 32, 3, stride=2), _norm(32), nn.ReLU6(inplace=True)]
        self.stages = nn.ModuleList()
        inputs = 32
        for i, groups in enumerate(_LITE0[:stages]):
            blocks: list[nn.Module] = list(stem) if i == 0 else []
            for count, kernel, stride, width, expansion in groups:
                for j in range(count):
                    step = stride if j == 0 else 1
                    blocks.append(Bottleneck(inputs, width, kernel, step, expansion))
                    inputs = width
            self.stages.append(nn.Sequential(*blocks))

    def features_of(self, x: Tensor) -> list[Tensor]:
        """After the last block of each size."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def reach(self) -> Reach:
        """How far the last stage's features see."""
        reach = Reach()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                reach.conv(layer.kernel_size[0])
                if layer.stride[0] == 2:
                    reach.down()
        return reach

    def renamed(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Both list their weights in the order of computation; the shapes must agree."""
        own = [name for name in self.state_dict() if name not in ("mean", "std")]
        return dict(zip(own, published.values(), strict=False))


class SameConv2d(nn.Conv2d):
    """A convolution without bias whose output is as large as the input, or half of it, rounded up.

    Of an even size that is halved the border is one narrower at the top and left than at the bottom
    and right, as TensorFlow has it; PyTorch alone would look one pixel further up and left.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W) or (B, C', H / 2, W / 2)."""
        if self.stride[0] == 2:
            far = self.kernel_size[0] // 2
            top, left = (far - 1 + side % 2 for side in x.shape[-2:])
            x = F.pad(x, (left, far, top, far))
        return super().forward(x)


class Bottleneck(nn.Module):
    """Widen by 1x1, look around channel by channel, narrow by 1x1; added to what came in if alike.

    Sandler et al. 2018, https://arxiv.org/abs/1801.04381
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [SameConv2d(inputs, inner, 1), _norm(inner), nn.ReLU6(inplace=True)]
        layers += [
            SameConv2d(inner, inner, kernel, stride=stride, groups=inner),
            _norm(inner),
            nn.ReLU6(inplace=True),
            SameConv2d(inner, outputs, 1),
            _norm(outputs),
        ]
        self.layers = nn.Sequential(*layers)
        self.added = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W) or half of that size."""
        out: Tensor = self.layers(x)
        return x + out if self.added else out


def _norm(channels: int) -> nn.BatchNorm2d:
    """With TensorFlow's constants, without which the published statistics do not fit."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


BACKBONES: dict[str, type[Backbone]] = {
    "vgg16": VGG16,
    "efficientnet_lite0": EfficientNetLite0,
}


def backbone(
    name: str, *, weights: str = "imagenet", stages: int = 5, frozen: bool = True
) -> Backbone:
    """The convolutional stages of a classifier, in evaluation mode.

    Args:
        name: A name in `BACKBONES`.
        weights: 'imagenet', or 'random' for weights from PyTorch's global generator.
        stages: How many stages, from the outermost.
        frozen: Never trained; stays in evaluation mode within a model that is trained.

    Raises:
        CheckpointError: The weights are not on this machine; nothing is downloaded here.
        MissingExtraError: The package that brings the weights is not installed.
        OptionError: An unknown name, or stages that there are not.

    Example:
        >>> maps = backbone("efficientnet_lite0", weights="random")(torch.rand(1, 3, 64, 64))
        >>> [tuple(features.shape[1:]) for features in maps]
        [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    """
    if name not in BACKBONES:
        raise unknown("encoder", name, BACKBONES)
    if weights not in ("imagenet", "random"):
        raise unknown("weights", weights, ("imagenet", "random"))
    made = BACKBONES[name](stages)
    initialise(made)
    if weights == "imagenet":
        made.take(imagenet.load(name))
    return made.freeze() if frozen else made.eval()
