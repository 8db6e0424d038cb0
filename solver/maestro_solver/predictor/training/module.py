"""The network in torch, as it is trained; ``exported`` turns it into the arrays that numpy predicts with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from maestro_solver.predictor.distribution import CLASSES
from maestro_solver.predictor.network import NetworkWeights
from maestro_solver.predictor.text import ROWS
from maestro_solver.predictor.training.settings import TrainingSettings
from maestro_solver.predictor.vocabulary import PLACE_LEVELS, UNKNOWN_ROW


class LengthNetwork(nn.Module):
    """The network that ``maestro_solver.predictor.network`` describes, with what keeps it from learning by heart."""

    def __init__(self, encoded: int, names: int, settings: TrainingSettings) -> None:
        """``encoded`` is the width of the encoded features, ``names`` how many names have an embedding."""
        super().__init__()
        self._settings = settings
        width, members, hidden = settings.embedding_width, settings.members, settings.hidden
        self.names = _embedding(nn.Embedding(names + 1, width, padding_idx=UNKNOWN_ROW))
        self.ngrams = nn.EmbeddingBag(ROWS + 1, width, mode="mean", padding_idx=0)
        _embedding(self.ngrams)
        inputs = encoded + 3 * width
        self.w1 = nn.Parameter(torch.randn(inputs, members * hidden) / math.sqrt(inputs))
        self.b1 = nn.Parameter(torch.zeros(members * hidden))
        self.w2 = nn.Parameter(torch.randn(members, hidden, hidden) / math.sqrt(hidden))
        self.b2 = nn.Parameter(torch.zeros(members, 1, hidden))
        self.w3 = nn.Parameter(0.1 * torch.randn(members, hidden, 2 * CLASSES) / math.sqrt(hidden))
        self.b3 = nn.Parameter(torch.zeros(members, 1, 2 * CLASSES))

    def forward(self, encoded: Tensor, names: Tensor, ngrams: Tensor) -> tuple[Tensor, Tensor]:
        """Return each member's log-probabilities of the classes and slopes inside them, (members, calls, CLASSES)."""
        settings = self._settings
        if self.training:  # a name that is unknown now and then teaches the coarser ones to speak for it
            names = names.masked_fill(torch.rand(names.shape) < settings.name_dropout, UNKNOWN_ROW)
        of_names = self.names(names)
        words = self.ngrams(ngrams)
        if self.training:
            words = words * (torch.rand(len(words), 1) > settings.text_dropout)
        place, model = of_names[:, :PLACE_LEVELS].sum(dim=1), of_names[:, PLACE_LEVELS:].sum(dim=1)
        joined = torch.cat((encoded, place, model, words), dim=1)
        first = functional.silu(joined @ self.w1 + self.b1)
        first = first.reshape(-1, settings.members, settings.hidden).transpose(0, 1)
        first = functional.dropout(first, settings.dropout, self.training)
        second = functional.silu(torch.baddbmm(self.b2, first, self.w2))
        second = first + functional.dropout(second, settings.dropout, self.training)
        scores = torch.baddbmm(self.b3, second, self.w3)
        return functional.log_softmax(scores[..., :CLASSES], dim=-1), torch.tanh(scores[..., CLASSES:])

    def exported(self) -> NetworkWeights:
        """Return the weights as arrays of their own."""
        arrays = {name: parameter.detach().numpy().copy() for name, parameter in self.named_parameters()}
        return NetworkWeights(
            names=arrays["names.weight"],
            ngrams=arrays["ngrams.weight"],
            **{name: arrays[name] for name in ("w1", "b1", "w2", "b2", "w3", "b3")},
        )


def _embedding(table: nn.Embedding | nn.EmbeddingBag) -> nn.Embedding | nn.EmbeddingBag:
    """Start small, with nothing for the unknown."""
    with torch.no_grad():
        nn.init.normal_(table.weight, 0.0, 0.1)
        table.weight[0] = 0.0
    return table
