"""Fits a network to examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from maestro_solver.predictor.encoding import fitted_encoding
from maestro_solver.predictor.network import Network
from maestro_solver.predictor.training.examples import Examples
from maestro_solver.predictor.training.losses import median_error, negative_log_likelihood
from maestro_solver.predictor.training.module import LengthNetwork
from maestro_solver.predictor.training.settings import TrainingSettings

OnEpoch = Callable[[int, float], None]
"""Called after each epoch with its number, from 1, and its mean loss."""


def fitted(examples: Examples, names: int, settings: TrainingSettings, on_epoch: OnEpoch) -> Network:
    """Return a network fitted to ``examples``; ``names`` is how many names have an embedding.

    Deterministic for a seed and a number of threads. Sets torch's seed and number of threads in this process.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    encoding = fitted_encoding(examples.inputs.features, settings.intervals)
    encoded = torch.from_numpy(encoding.encode(examples.inputs.features))
    name_rows, ngrams = torch.from_numpy(examples.inputs.names), torch.from_numpy(examples.inputs.ngrams)
    tokens, censored = torch.from_numpy(examples.tokens), torch.from_numpy(examples.censored)
    module = LengthNetwork(encoding.size, names, settings)
    batches = -(-len(examples) // settings.batch)
    optimiser = torch.optim.AdamW(module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.epochs * batches + 1, pct_start=0.1
    )
    order = np.random.default_rng(settings.seed)
    for epoch in range(1, settings.epochs + 1):
        total = 0.0
        for rows in np.array_split(order.permutation(len(examples)), batches):
            index = torch.from_numpy(rows)
            optimiser.zero_grad()
            scores, slopes = module(encoded[index], name_rows[index], ngrams[index])
            loss = negative_log_likelihood(scores, slopes, tokens[index], censored[index])
            error = median_error(scores, slopes, tokens[index], censored[index])
            loss = loss + settings.pinball_weight * error / settings.pinball_scale_tokens
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        on_epoch(epoch, total / len(examples))
    return Network(encoding, module.exported())
