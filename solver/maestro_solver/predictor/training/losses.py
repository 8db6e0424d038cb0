"""What training minimises: how improbable the lengths were held to be, and how far the median lay from them."""

from __future__ import annotations

import torch
from torch import Tensor

from maestro_solver.predictor.distribution import CLASSES, EDGES, WIDTHS

_EDGES = torch.tensor(EDGES, dtype=torch.float32)
_WIDTHS = torch.tensor(WIDTHS, dtype=torch.float32)
_LEAST = 1e-9


def negative_log_likelihood(log_probability: Tensor, slope: Tensor, tokens: Tensor, censored: Tensor) -> Tensor:
    """Return the mean over members and calls.

    ``log_probability`` and ``slope`` are (members, calls, CLASSES), ``tokens`` and ``censored`` (calls,). A whole
    output counts by its class (cross entropy) and its density within it; a cut one by the probability to come so far.
    """
    found = (torch.bucketize(tokens, _EDGES, right=True) - 1).clamp(0, CLASSES - 1)
    along = ((tokens + 0.5 - _EDGES[found]) / _WIDTHS[found]).clamp(0.0, 1.0)
    rows = found.expand(log_probability.shape[0], -1).unsqueeze(-1)
    own_log = log_probability.gather(-1, rows).squeeze(-1)
    own_slope = slope.gather(-1, rows).squeeze(-1)
    whole = -own_log - torch.log((1.0 + own_slope * (2.0 * along - 1.0)).clamp(min=0.02))
    if not bool(censored.any()):
        return whole.mean()
    probability = log_probability.exp()
    beyond = torch.where(torch.arange(CLASSES) > found[:, None], probability, torch.zeros(())).sum(dim=-1)
    rest = own_log.exp() * (1.0 - along - own_slope * (along**2 - along))
    cut = -torch.log((beyond + rest).clamp(min=_LEAST))
    return torch.where(censored, cut, whole).mean()


def median_error(log_probability: Tensor, slope: Tensor, tokens: Tensor, censored: Tensor) -> Tensor:
    """Return the mean absolute error of the median, tokens (twice its pinball loss); shapes as above.

    The median of a cut output is only wrong where it lies below it.
    """
    probability = log_probability.exp()
    cumulative = probability.cumsum(dim=-1)
    found = (cumulative < 0.5).sum(dim=-1, keepdim=True).clamp(max=CLASSES - 1)
    own = probability.gather(-1, found)
    share = ((0.5 - cumulative.gather(-1, found) + own) / own.clamp(min=_LEAST)).clamp(0.0, 1.0)
    own_slope = slope.gather(-1, found)
    root = torch.sqrt(((1.0 - own_slope) ** 2 + 4.0 * own_slope * share).clamp(min=_LEAST))
    along = 2.0 * share / (1.0 - own_slope + root)
    median = (_EDGES[found] + along * _WIDTHS[found] - 0.5).squeeze(-1)
    error = torch.where(censored, (tokens - median).clamp(min=0.0), (tokens - median).abs())
    return error.mean()
