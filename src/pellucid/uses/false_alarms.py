"""From which score on a picture is called anomalous, given scores of good ones that were left out.

Pure functions of numbers. Read next: `detect`, which leaves the pictures out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from pellucid.errors import OptionError


def threshold(scores: Sequence[float], rate: float) -> float:
    """The score that a share `rate` of good pictures is above, from scores of some of them.

    Where there are enough of them, the order statistic that a new one is above with at most that
    chance (split conformal prediction, Papadopoulos et al. 2002). A hundredth of thirty pictures is
    none, however: then their logarithms are taken as normal, and the limit is that of a new draw
    from the same distribution, of which mean and deviation are known from these scores alone.

    Args:
        scores: Above 0, of at least three good pictures that the detector was not fitted on.
        rate: Above 0, below 0.5.

    Raises:
        OptionError: The rate is not possible, or there are too few scores.
    """
    check_rate(rate)
    count = len(scores)
    if count < 3:
        raise OptionError(f"a threshold takes scores of 3 good pictures, and there are {count}")
    place = math.ceil((count + 1) * (1 - rate))
    if place <= count:
        return sorted(scores)[place - 1]
    logs = [math.log(max(score, 1e-12)) for score in scores]
    reach = student(1 - rate, count - 1) * math.sqrt(1 + 1 / count)
    return math.exp(min(fmean(logs) + reach * stdev(logs), 700))


def check_rate(rate: float) -> None:
    """Refuse a rate that is none."""
    if not 0 < rate < 0.5:
        raise OptionError(
            f"a false-alarm rate of {rate} is not possible; give a share above 0 and below 0.5, "
            "such as 0.01 for one good picture in a hundred"
        )


def student(chance: float, freedom: int) -> float:
    """The value that Student's t stays below with a chance above one half.

    Hill 1970, Algorithm 396, https://doi.org/10.1145/355598.355600; to three digits from 3 degrees
    of freedom.
    """
    both = 2 * (1 - chance)
    if freedom == 1:
        return 1 / math.tan(both * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (both * (2 - both)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * both) ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(both / 2)
        y = x**2
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        y = (
            (
                1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3)
                + 0.5 / (freedom + 4)
            )
            * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
