"""Muon: momentum whose steps are made orthogonal, one matrix for each convolution.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. A step of Adam on a matrix of
weights points mostly along a few directions; made orthogonal it goes equally far along all, and
training needs fewer steps. PyTorch's own Muon takes matrices only, and convolutions have four axes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that Jordan et al. tuned to lift small singular values in five rounds."""


class Muon(torch.optim.Optimizer):
    """Orthogonal momentum for the weights of convolutions, AdamW for all that is no matrix.

    Args:
        params: The parameters to train.
        lr: The rate. A step moves every weight of a matrix by 0.2 of it in root mean square, as
            AdamW's do (Liu et al. 2025, https://arxiv.org/abs/2502.16982), so rates carry over.
        weight_decay: Decoupled.
        momentum: Nesterov's.
        halves: Multiply in bfloat16, which is accurate enough for a direction.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        halves: bool = True,
    ) -> None:
        told = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "halves": halves}
        super().__init__(params, told)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step from the present gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            if group["weight_decay"]:
                torch._foreach_mul_(moving, 1 - group["lr"] * group["weight_decay"])
            alike = defaultdict(list)
            for parameter in moving:
                if parameter.ndim >= 2:
                    alike[parameter.shape].append(parameter)
                else:
                    self._adam(parameter, group["lr"])
            for same in alike.values():
                self._orthogonal(same, group)
        return loss

    def _orthogonal(self, same: list[Tensor], group: dict[str, Any]) -> None:
        """Step parameters of one shape together: a batch of matrices multiplies faster."""
        directions = []
        for parameter in same:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["average"] = torch.zeros_like(parameter)
            state["average"].lerp_(parameter.grad, 1 - group["momentum"])
            # Laid out as the parameter is, so that columns mean the same in both.
            nesterov = torch.empty_like(parameter)
            torch.lerp(parameter.grad, state["average"], group["momentum"], out=nesterov)
            directions.append(_matrix(nesterov))
        stack = torch.stack(directions)
        steps = orthogonal(stack.bfloat16() if group["halves"] else stack)
        scale = 0.2 * max(stack.shape[1:]) ** 0.5
        for parameter, step in zip(same, steps, strict=True):
            _matrix(parameter).add_(step, alpha=-group["lr"] * scale)

    def _adam(self, parameter: Tensor, rate: float) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["average"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["average"].lerp_(parameter.grad, 0.1)
        state["square"].lerp_(parameter.grad.square(), 0.001)
        count = float(state["step"])
        root = (state["square"] / (1 - 0.999**count)).sqrt_().add_(1e-8)
        parameter.addcdiv_(state["average"], root, value=-rate / (1 - 0.9**count))


def _matrix(weight: Tensor) -> Tensor:
    """A weight (O, ...) as a matrix (O, N) on the same memory, whatever its layout.

    In which order the columns come is all the same to what is done to them.
    """
    if weight.ndim == 4 and not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(len(weight), -1)


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """The nearest matrices whose singular values are all about 1 (0.7 to 1.2 in five rounds).

    Args:
        matrices: (B, M, N).
        rounds: Of Newton's and Schulz' iteration.

    Returns:
        Same shape and type.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(rounds):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
