"""The faster roads give what PyTorch's own layers give, and the same gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pellucid.learn.models.layers import ConvTranspose2d, NarrowConv2d


def both(ours: nn.Module, theirs: nn.Module, image: torch.Tensor) -> list[list[torch.Tensor]]:
    """Output, then gradients of input and weights, of each."""
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, theirs):
        x = image.clone().requires_grad_()
        out = layer(x)
        (out * torch.linspace(0.1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        found.append([out, x.grad, *(weight.grad for weight in layer.parameters())])
    return found


@pytest.mark.parametrize("outputs", [1, 3, 4])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_narrow_convolution_is_a_convolution(outputs: int, kernel: int, bias: bool) -> None:
    torch.manual_seed(0)
    options = {"padding": kernel // 2, "bias": bias, "dtype": torch.float64}
    image = torch.rand(2, 6, 9, 11, dtype=torch.float64)
    ours, theirs = both(
        NarrowConv2d(6, outputs, kernel, **options), nn.Conv2d(6, outputs, kernel, **options), image
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolution_is_a_transposed_convolution(stride: int) -> None:
    torch.manual_seed(0)
    options = {"padding": 1, "stride": stride, "output_padding": stride - 1}
    ours, theirs = both(
        ConvTranspose2d(6, 5, 3, **options), nn.ConvTranspose2d(6, 5, 3, **options),
        torch.rand(2, 6, 9, 11),
    )  # fmt: skip
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_layers_agree_under_autocast_within_its_precision() -> None:
    torch.manual_seed(0)
    image = torch.rand(4, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    for ours, theirs in (
        (NarrowConv2d(8, 1, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)),
        (ConvTranspose2d(8, 8, 3, 2, 1, 1), nn.ConvTranspose2d(8, 8, 3, 2, 1, 1)),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            mine, other = both(ours, theirs, image)
        for one, two in zip(mine, other, strict=True):
            assert one.dtype == two.dtype
            scale = float(two.detach().abs().max())
            assert float((one - two).detach().abs().max()) <= 0.02 * scale
