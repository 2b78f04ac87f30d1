"""Damage specs: read, written back, drawn and applied; and what is said of malformed ones."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import OptionError
from pellucid.learn import degrade
from pellucid.learn.damage import Damage, Stage, parse
from pellucid.learn.degrade import DEGRADATIONS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, 1, 24, 24, generator=seeded(seed))


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    stages = []
    for name in draw(st.lists(st.sampled_from(sorted(DEGRADATIONS)), max_size=4)):
        entry = DEGRADATIONS[name]
        ends = st.floats(entry.low, entry.high) | st.integers(0, 255).map(lambda n: n / 255)
        ends = ends.filter(lambda value, e=entry: e.low <= value <= e.high)
        stages.append(Stage(name, *sorted([draw(ends), draw(ends)])))
    return Damage(tuple(stages))


@settings(max_examples=300)
@given(damages())
def test_a_written_spec_reads_back_exactly(damage: Damage) -> None:
    assert parse(str(damage)) == damage


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("gaussian:25/255", "gaussian:25/255"),
        ("gaussian:0.098039215686274510", "gaussian:25/255"),
        ("gaussian:0/255..55/255", "gaussian:0..55/255"),
        ("gaussian:0..0.2", "gaussian:0..0.2"),
        (" gaussian : 0.1 + jpeg : 40 ", "gaussian:0.1+jpeg:40"),
        ("gaussian:.1", "gaussian:0.1"),
        ("gaussian:1e-3", "gaussian:0.001"),
        ("poisson:1e+3+jpeg:90", "poisson:1000+jpeg:90"),
        ("salt_pepper:5/100..5/100", "salt_pepper:0.05"),
        ("jpeg", "jpeg:30"),
        ("none", "none"),
    ],
)
def test_specs_have_one_canonical_text(spec: str, canonical: str) -> None:
    assert str(parse(spec)) == canonical


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_a_name_alone_takes_its_default(name: str) -> None:
    assert parse(name).stages == (Stage(name, *[DEGRADATIONS[name].default] * 2),)


def test_a_damage_is_handed_back_as_it_is() -> None:
    damage = parse("gaussian:0.1")
    assert parse(damage) is damage


def test_none_changes_nothing() -> None:
    x = batch()
    assert torch.equal(parse("none")(x, generator=seeded()), x)


def test_a_sigma_of_25_is_refused_with_what_was_meant() -> None:
    with pytest.raises(OptionError) as caught:
        parse("gaussian:25")
    assert str(caught.value) == (
        "gaussian strength 25 is above 1; values are on the [0, 1] scale: "
        "did you mean gaussian:25/255?"
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gausian:0.1", "did you mean 'gaussian'?"),
        ("gaussian:0..25", "did you mean gaussian:25/255?"),
        ("salt_pepper:20", "did you mean salt_pepper:20/100?"),
        ("mask:50", "did you mean mask:50/100?"),
        ("gaussian:300", "outside 0..1"),
        ("gaussian:-0.1", "outside 0..1"),
        ("jpeg:0", "outside 1..100"),
        ("poisson:0", "outside 0.1..1e+06"),
        ("gaussian:0.2..0.1", "low first"),
        ("gaussian:0.1..0.2..0.3", "low first"),
        ("gaussian:", "malformed strength ''"),
        ("gaussian:abc", "malformed strength 'abc'"),
        ("gaussian:1/0", "malformed strength '1/0'"),
        ("gaussian:nan", "malformed strength 'nan'"),
        ("gaussian:inf", "malformed strength 'inf'"),
        ("gaussian:1_0", "malformed strength '1_0'"),
        ("gaussian:0.1:0.2", "malformed strength '0.1:0.2'"),
        ("gaussian:0.1+", "malformed damage"),
        ("", "malformed damage"),
        ("none+gaussian:0.1", "'none' stands alone"),
        ("none:1", "'none' stands alone"),
    ],
)
def test_a_bad_spec_is_one_clear_line(spec: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=200)
@given(st.text(alphabet="gausinoe:+./0123456789 -_x", max_size=20))
def test_no_text_breaks_the_parser(spec: str) -> None:
    with contextlib.suppress(OptionError):
        assert isinstance(parse(spec), Damage)


def test_a_blind_range_is_drawn_for_each_picture_within_its_ends() -> None:
    damage = parse("gaussian:0.1..0.2+jpeg:40..90")
    strengths = damage.draw(500, seeded())
    assert damage.blind
    assert strengths.shape == (500, 2)
    assert strengths[:, 0].unique().numel() > 400
    assert 0.1 <= float(strengths[:, 0].min()) < 0.11
    assert 0.19 < float(strengths[:, 0].max()) <= 0.2
    assert float(strengths[:, 1].mean()) == pytest.approx(65, abs=3)


def test_a_fixed_strength_draws_nothing() -> None:
    generator = seeded()
    before = generator.get_state()
    assert torch.equal(parse("gaussian:0.5").draw(3, generator), torch.full((3, 1), 0.5))
    assert torch.equal(generator.get_state(), before)


def test_same_strengths_and_seed_same_picture() -> None:
    x, damage = batch(), parse("gaussian:0..0.2+blur:0..2+salt_pepper:0..0.1")
    strengths = damage.draw(4, seeded(7))
    one, other = (damage.apply(x, strengths, seeded(8)) for _ in range(2))
    assert torch.equal(one, other)


def test_calling_is_drawing_then_applying() -> None:
    x, damage, generator = batch(), parse("gaussian:0..0.2+jpeg:20..90"), seeded(3)
    expected = damage.apply(x, damage.draw(4, generator), generator)
    assert torch.equal(damage(x, generator=seeded(3)), expected)


def test_fixed_stages_are_the_plain_functions_in_order() -> None:
    x, generator = batch(), seeded(2)
    expected = degrade.jpeg(degrade.gaussian(x, 0.1, generator=generator), 40)
    assert torch.equal(parse("gaussian:0.1+jpeg:40")(x, generator=seeded(2)), expected)


def test_strengths_other_than_the_fixed_one_can_be_applied() -> None:
    x = batch(2)
    result = parse("gaussian:0.5").apply(x, torch.tensor([[0.0], [0.5]]), seeded())
    assert torch.equal(result[0], x[0])
    assert not torch.equal(result[1], x[1])


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_damage_is_exact_within_a_training_step_in_bfloat16(name: str) -> None:
    damage = parse(f"{name} | none")
    wanted = damage(batch(), generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(damage(batch(), generator=seeded()), wanted, rtol=0, atol=0)


def test_clipping_is_asked_for() -> None:
    x, damage = batch(), parse("gaussian:0.5")
    free = damage(x, generator=seeded())
    clipped = damage(x, generator=seeded(), clip=True)
    assert float(free.min()) < 0
    assert torch.equal(clipped, free.clamp(0, 1))


def test_sigma_is_known_only_of_one_fixed_gaussian() -> None:
    assert parse("gaussian:25/255").sigma == 25 / 255
    for spec in ("none", "gaussian:0..0.2", "gaussian:0.1+jpeg:40", "speckle:0.1"):
        assert parse(spec).sigma is None


@pytest.mark.parametrize("x", [torch.rand(8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)])
def test_only_float_batches_are_damaged(x: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=r"float tensor \(B, C, H, W\)"):
        parse("gaussian:0.1")(x)


def test_strengths_of_another_shape_are_refused() -> None:
    with pytest.raises(OptionError, match="strengths of shape"):
        parse("gaussian:0.1").apply(batch(), torch.zeros(3, 1))


MIXED = "gaussian:0.1..0.2 | blur:1+jpeg:40..90 | none"


def test_alternatives_read_back_exactly() -> None:
    assert str(parse(MIXED)) == MIXED
    assert parse(str(parse(MIXED))) == parse(MIXED)
    assert parse(MIXED).blind
    assert parse(MIXED).sigma is None


def test_each_picture_gets_one_of_the_alternatives_equally_often() -> None:
    damage = parse("gaussian:0.1 | salt_pepper:0.2 | none")
    x = torch.full((300, 1, 16, 16), 0.5)
    result = damage(x, generator=seeded())
    untouched = (result == x).all(-1).all(-1).ravel()
    struck = ((result == 0) | (result == 1)).any(-1).any(-1).ravel()
    noisy = ~untouched & ~struck
    assert all(70 < int(kind.sum()) < 130 for kind in (untouched, struck, noisy))
    assert torch.allclose(result[noisy].std((1, 2, 3)), torch.tensor(0.1), atol=0.03)


def test_the_same_draw_gives_the_same_picture_alone_and_in_company() -> None:
    damage = parse("blur:1..2 | jpeg:40..90 | none")  # which draw nothing while they are applied
    x = batch(12)
    strengths = damage.draw(12, seeded())
    together = damage.apply(x, strengths)
    for index in range(12):
        alone = damage.apply(x[index : index + 1], strengths[index : index + 1])
        assert torch.allclose(alone[0], together[index], atol=1e-6)
        named = damage.drawn(strengths[index])
        assert torch.allclose(named(x[index : index + 1])[0], together[index], atol=1e-5)


def test_strengths_of_other_alternatives_are_refused() -> None:
    with pytest.raises(OptionError, match="takes strengths of shape"):
        parse(MIXED).apply(batch(2), torch.zeros(2, 2))


@pytest.mark.parametrize("after", ["blur:1", "poisson:30", "jpeg:40", "camera:0.05", "bilevel:0.5"])
def test_holes_stay_holes_whatever_comes_after_them(after: str) -> None:
    clean = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    alone = parse("mask:0.4")(clean, generator=torch.Generator().manual_seed(1), missing=math.nan)
    chance = torch.Generator().manual_seed(1)
    damaged = parse(f"mask:0.4+{after}")(clean, generator=chance, clip=True, missing=math.nan)
    assert torch.equal(damaged.isnan(), alone.isnan())
    assert 0.3 < float(damaged.isnan().float().mean()) < 0.5
