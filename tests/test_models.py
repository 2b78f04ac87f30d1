"""Promises that every model keeps, and the architectures that references describe."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import OptionError
from pellucid.learn import metrics
from pellucid.learn.models import MODELS, Autoencoder, ConvAutoencoder, Restorer, create, summary
from pellucid.learn.models.blocks import DOWN, UP
from pellucid.learn.models.sparse import SPARSITIES


def conv_choices() -> list[dict[str, object]]:
    """Every way down with every way up that mirrors it."""
    found = []
    for down, up in itertools.product(DOWN, UP):
        if up == "unpool" and down != "max":
            continue
        head = "direct" if up == "transpose_upsample" else "conv"
        found.append({"down": down, "up": up, "head": head, "channels": (4, 6)})
    return found


VARIANTS: list[tuple[str, dict[str, object]]] = [
    *[("conv", choice) for choice in conv_choices()],
    *[("conv", {"norm": norm, "channels": (4,)}) for norm in ("none", "batch", "group")],
    *[
        ("conv", {"activation": a, "channels": (4,)})
        for a in ("relu", "leaky_relu", "gelu", "silu")
    ],
    ("conv", {"channels": (4, 5, 6), "convs": 2, "kernel": 5, "image_channels": 3}),
    ("conv", {"channels": (4, 4), "code_channels": 2, "output": "linear"}),
    ("conv", {"channels": (4, 4), "head": "direct"}),
    ("stacked", {"channels": (4, 6), "corruption": 0.2}),
    ("stacked", {"channels": (4, 5), "up": "unpool", "norm": "batch", "image_channels": 3}),
    ("pretrained", {"stages": 2, "weights": "random", "frozen": False}),
    ("pretrained", {"stages": 3, "weights": "random", "code_channels": 5, "norm": "group"}),
    (
        "pretrained",
        {"encoder": "vgg16", "stages": 1, "weights": "random", "widest": 4, "image_channels": 3},
    ),
    *[
        ("sparse", {"channels": (4, 6), "code_channels": 5, "active": 2, "sparsity": sparsity})
        for sparsity in SPARSITIES
    ],
    ("sparse", {"channels": (4,), "loss": "bce", "image_channels": 3}),
    ("unet", {"channels": (4, 6, 8), "blocks": 1}),
    ("unet", {"channels": (4, 6), "unshuffle": 2, "image_channels": 3}),
    ("unet", {"channels": (4, 6), "down": "max", "up": "bilinear", "skip": "concat"}),
    ("unet", {"channels": (4, 6), "down": "avg", "up": "nearest", "norm": "group", "bias": True}),
    ("unet", {"channels": (4, 6), "residual": False, "output": "sigmoid", "loss": "bce"}),
    ("inpaint", {"channels": (4, 6), "blocks": 1}),
    ("inpaint", {"channels": (4, 6), "unshuffle": 2, "image_channels": 3}),
    (
        "conv",
        {"channels": (4, 5), "up": "transpose_upsample", "head": "direct", "convs": 3, "kernel": 5},
    ),
    ("variational", {"channels": (4, 6), "code_channels": 2, "free_bits": 0.1}),
    ("variational", {"channels": (4,), "likelihood": "gaussian", "learned_scale": True}),
    ("variational", {"channels": (4, 6), "down": "max", "up": "transpose", "image_channels": 3}),
    ("factorized", {"channels": (4, 5, 6), "latents": 3}),
    ("factorized", {"channels": (4, 5, 6), "latents": 7, "quality": 3, "image_channels": 3}),
    ("hyperprior", {"channels": (4, 5, 6), "latents": 5, "hyper_latents": 3}),
]
IDS = [f"{kind}-{'-'.join(map(str, options.values()))}" for kind, options in VARIANTS]


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=IDS)
@pytest.mark.parametrize("size", [(16, 16), (13, 22), (1, 1)])
def test_any_size_comes_back_the_same_size(
    kind: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    model = create(kind, **options).eval()
    image = torch.rand(2, model.image_channels, *size)
    restored = model(image)
    assert restored.shape == image.shape
    assert torch.isfinite(restored).all()
    if model.output == "sigmoid":
        assert restored.min() >= 0
        assert restored.max() <= 1


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=IDS)
def test_every_weight_gets_a_finite_gradient(kind: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create(kind, **options)
    image = torch.rand(2, model.image_channels, 16, 16)
    terms = model.loss(image, image)
    sum(terms.values()).backward()
    assert any(weight.requires_grad for weight in model.parameters())
    for name, weight in model.named_parameters():
        # What is frozen is left alone, whole.
        if not weight.requires_grad:
            assert weight.grad is None, name
            continue
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=IDS)
def test_halo_bounds_what_a_pixel_can_change(kind: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create(kind, **options).eval().double()
    if model.halo is None:
        pytest.skip("this model sees the whole image")
    for weight in model.parameters():
        if weight.ndim > 1 and not weight.any():  # a branch that would say nothing yet
            nn.init.normal_(weight, std=0.1)
    size = 4 * model.multiple_of * (model.halo // model.multiple_of // 2 + 1)
    image = torch.rand(1, model.image_channels, size, size, dtype=torch.float64)
    before = model(image)
    for at in {size // 2, size // 2 + 1, size // 2 + model.multiple_of - 1}:
        poked = image.clone()
        poked[..., at, at] += 1
        changed = (model(poked) - before).abs().amax(dim=(0, 1)) > 0
        rows, columns = torch.nonzero(changed, as_tuple=True)
        assert len(rows) > 0
        reach = max(int((rows - at).abs().max()), int((columns - at).abs().max()))
        assert reach <= model.halo


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_defaults_make_a_working_model(kind: str) -> None:
    assert create(kind)(torch.rand(1, 1, 16, 16)).shape == (1, 1, 16, 16)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_model_remembers_every_option(kind: str) -> None:
    model = create(kind)
    again = create(kind, **model.options)
    assert again.options == model.options
    assert str(again) == str(model)


def test_forward_is_decode_of_encode() -> None:
    model = create("conv", channels=(4, 6), code_channels=3).eval()
    image = torch.rand(2, 1, 16, 12)
    assert isinstance(model, Autoencoder)
    torch.testing.assert_close(model.decode(model.encode(image)), model(image))


@pytest.mark.parametrize("size", [28, (20, 30)])
def test_a_dense_code_has_the_asked_length(size: int | tuple[int, int]) -> None:
    model = create("conv", channels=(4, 6, 8), code_size=5, image_size=size)
    high, wide = (size, size) if isinstance(size, int) else size
    image = torch.rand(3, 1, high, wide)
    assert isinstance(model, Autoencoder)
    assert model.encode(image).shape == (3, 5)
    assert model.decode(model.encode(image)).shape == image.shape
    assert model(image[..., :9, :7]).shape == (3, 1, 9, 7)


def test_a_dense_code_refuses_larger_images() -> None:
    model = create("conv", channels=(4,), code_size=5, image_size=16)
    with pytest.raises(OptionError, match="20x16 but this model's dense code is bound to 16x16"):
        model(torch.rand(1, 1, 20, 16))


def test_the_keras_example_has_28353_parameters() -> None:
    assert summary(create("conv", channels=(32, 32))).parameters == 28_353


def test_r2_order_is_transpose_relu_upsample_transpose_sigmoid() -> None:
    model = create(
        "conv", channels=(16, 4), up="transpose_upsample", head="direct", image_channels=3
    )
    kinds = [type(m) for m in model.modules() if not list(m.children())]
    wanted = [nn.Conv2d, nn.MaxPool2d, nn.ReLU] * 2
    wanted += [nn.ConvTranspose2d, nn.ReLU, nn.Upsample, nn.ConvTranspose2d]
    kinds = [kind for kind in kinds if kind is not nn.Identity]
    assert len(kinds) == len(wanted)
    assert all(issubclass(*pair) for pair in zip(kinds, wanted, strict=True))
    assert model.output == "sigmoid"


def test_unpooling_puts_every_maximum_back_in_its_place() -> None:
    from torch.nn import functional as F

    from pellucid.learn.models.blocks import unpool

    image = torch.rand(2, 3, 8, 8)
    pooled, places = F.max_pool2d(image, 2, return_indices=True)
    back = unpool(pooled, places)
    kept = back > 0
    assert kept.sum() == pooled.numel()
    torch.testing.assert_close(back[kept], image[kept])


def test_exported_unpooling_is_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn import functional as F

    from pellucid.learn.models.blocks import unpool

    pooled, places = F.max_pool2d(torch.rand(2, 3, 8, 6), 2, return_indices=True)
    plain = unpool(pooled, places)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(unpool(pooled, places), plain)


def test_pooling_before_relu_is_pooling_after_it() -> None:
    model = create("conv", channels=(8,), down="max").eval()
    assert isinstance(model, ConvAutoencoder)
    level = model.encoder[0]
    image = torch.randn(1, 1, 8, 8)
    expected = nn.functional.max_pool2d(level.layers[0](image).relu(), 2)
    assert torch.equal(level(image)[0], expected)


def test_a_bias_free_residual_network_scales_with_its_input() -> None:
    torch.manual_seed(0)
    model = create("unet", channels=(4, 6), blocks=1).eval()
    image = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(model(3 * image), 3 * model(image))


def test_decode_is_declined_by_name_where_there_are_skips() -> None:
    with pytest.raises(OptionError, match="skips cannot decode a code alone"):
        create("unet").decode(torch.zeros(1, 4, 2, 2))


def test_decode_is_declined_by_name_where_indices_are_needed() -> None:
    model = create("conv", channels=(4,), up="unpool")
    assert isinstance(model, Autoencoder)
    with pytest.raises(OptionError, match="up='unpool' cannot decode"):
        model.decode(model.encode(torch.rand(1, 1, 8, 8)))


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("conv", {"down": "maxx"}, "unknown down 'maxx'; did you mean 'max'"),
        ("conv", {"up": "transposed"}, "did you mean 'transpose'"),
        ("conv", {"down": "avg", "up": "unpool"}, "but down is 'avg'"),
        ("conv", {"chanels": (4,)}, "unknown option of 'conv' 'chanels'; did you mean 'channels'"),
        ("conv", {"channels": ()}, "one width of at least 1"),
        ("conv", {"kernel": 4}, "must be odd"),
        ("conv", {"code_size": 8}, "give image_size=28"),
        ("conv", {"code_size": 8, "code_channels": 2, "image_size": 8}, "not both"),
        ("conv", {"up": "transpose_upsample"}, "head='direct'"),
        ("conv", {"output": "linear", "loss": "bce"}, "needs output='sigmoid'"),
        ("conv", {"image_channels": 4}, "1 \\(grey\\) or 3 \\(colour\\)"),
        ("stacked", {"pretraining": 1.0}, "pretraining is 1.0; it is a share"),
        ("stacked", {"corruption": -0.1}, "corruption is -0.1"),
        ("pretrained", {"encoder": "vgg19"}, "unknown encoder 'vgg19'; did you mean 'vgg16'"),
        ("pretrained", {"stages": 6}, "stages is 6; 'efficientnet_lite0' has from 1 to 5"),
        ("pretrained", {"weights": "imagenett"}, "did you mean 'imagenet'"),
        ("pretrained", {"up": "unpool"}, "unknown up 'unpool'"),
        ("pretrained", {"widest": 0}, "widest is 0"),
        ("unet", {"up": "unpool"}, "model 'conv' can unpool"),
        ("unet", {"output": "sigmoid"}, "residual"),
        ("unet", {"loss": "mae"}, "unknown loss 'mae'"),
        ("sparse", {"sparsity": "top"}, "unknown sparsity 'top'; did you mean 'topk'"),
        ("sparse", {"active": 65}, "active is 65, but the code has 64"),
        ("sparse", {"sparsity": "kl", "rate": 1.0}, "rate is 1.0; a share"),
        ("sparse", {"weight": -1.0}, "weight is -1.0"),
        ("sparse", {"up": "unpool"}, "model 'conv' can unpool"),
        ("variational", {"up": "unpool"}, "'variational' upsamples by .*, not 'unpool'"),
        ("variational", {"likelihood": "gauss"}, "did you mean 'gaussian'"),
        ("variational", {"beta": -1.0}, "beta is -1.0"),
        ("variational", {"free_bits": float("nan")}, "free_bits is nan"),
        ("variational", {"likelihood": "gaussian", "scale": 0.0}, "scale is 0.0"),
        ("variational", {"learned_scale": True}, "no scale to learn"),
        ("variational", {"likelihood": "gaussian", "binarized": True}, "black or white"),
        ("factorized", {"channels": (4, 4)}, "takes a list of 3, each a whole number"),
        ("factorized", {"channels": (4, 0, 4)}, "channels is 0; a width is from 1"),
        ("factorized", {"lambdas": (0.1, 0.01)}, "for each quality, rising"),
        ("factorized", {"lambdas": ()}, "for each quality, rising"),
        ("factorized", {"lambdas": (float("nan"),)}, "for each quality, rising"),
        ("hyperprior", {"quality": 9}, "quality is 9; there are qualities 1 to 8"),
        ("hyperprior", {"hyper_latents": 0}, "hyper_latents is 0"),
        ("convv", {}, "unknown model 'convv'; did you mean 'conv'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    kind: str, options: dict[str, object], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        create(kind, **options)


def test_wrong_channels_are_refused_with_a_way_out() -> None:
    with pytest.raises(OptionError, match="3 channels but this model was made for 1"):
        create("conv")(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("loss", ["mse", "bce", "l1", "psnr", "psnr+ssim"])
def test_loss_agrees_with_its_formula(loss: str) -> None:
    torch.manual_seed(0)
    model = create("conv", channels=(4,), loss=loss).eval()
    damaged, clean = torch.rand(2, 2, 1, 8, 8).unbind()
    restored = model(damaged)
    decibels = (restored - clean).square().mean((1, 2, 3)).log10().mean()
    similarity = metrics.ssim(restored, clean).mean()
    formula = {
        "mse": (restored - clean).square().mean(),
        "l1": (restored - clean).abs().mean(),
        "bce": -(clean * restored.log() + (1 - clean) * (1 - restored).log()).mean(),
        "psnr": decibels,
        "psnr+ssim": decibels + 1 - similarity,
    }[loss]
    torch.testing.assert_close(model.loss(damaged, clean)[loss], formula)


def test_similarity_in_the_loss_asks_for_black_where_nothing_is() -> None:
    # Half black, half texture: one squared error, once as a grey veil on the black.
    chance = torch.Generator().manual_seed(0)
    clean = torch.zeros(1, 1, 64, 64)
    clean[..., 32:] = torch.rand(1, 1, 64, 32, generator=chance)
    veil, noise = clean.clone(), clean.clone()
    veil[..., :32] += 0.02
    noise[..., 32:] += 0.02 * torch.randn(1, 1, 64, 32, generator=chance).sign()
    plain, similar = (create("unet", loss=loss) for loss in ("psnr", "psnr+ssim"))
    of_plain, of_similar = (
        [float(model.distance(restored, clean)[model.criterion]) for restored in (veil, noise)]
        for model in (plain, similar)
    )
    assert of_plain[0] == pytest.approx(of_plain[1], abs=1e-4)
    assert of_similar[0] > of_similar[1] + 0.1


def test_summary_counts_what_a_hand_counts() -> None:
    made = summary(create("conv", channels=(2,), head="direct", kernel=3), size=8)
    # 1->2 convolution on 8x8, 2->1 transposed convolution from 4x4.
    flops = 2 * 9 * (2 * 64 + 2 * 16)
    assert made.flops_per_pixel == flops / 64
    assert made.parameters == (9 * 2 + 2) + (9 * 2 + 1)
    assert made.code_shape == (2, 4, 4)
    assert made.compression == 64 / 32
    assert "MaxPool2d" in str(made)
    assert made.layers[0].shape == (2, 8, 8)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 2), (7, 8), (13, 19)])
def test_sizes_off_the_grid_are_filled_by_mirroring(size: tuple[int, int]) -> None:
    seen = []

    class Looking(Restorer):
        kind = "looking"

        def __init__(self) -> None:
            super().__init__(image_channels=1, multiple_of=8, output="linear", loss="mse")

        def restore(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x

    x = torch.rand(1, 1, *size)
    assert torch.equal(Looking()(x), x)
    border = tuple((0, -side % 8) for side in size)
    expected = np.pad(x[0, 0].numpy(), border, mode="reflect")
    if min(size) < 5:  # narrower than the border: beyond its mirror image the first is repeated
        rows, columns = (
            [max(0, s - 1 - abs(i - s + 1)) for i in range(-(-s // 8) * 8)] for s in size
        )
        expected = x[0, 0].numpy()[rows][:, columns]
    assert np.array_equal(seen[0][0, 0].numpy(), expected)
