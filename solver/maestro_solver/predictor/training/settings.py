"""What can be chosen about training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The defaults are those that the shipped artefact was trained with.

    ``calibration_share`` of the tasks is held out of training and used to calibrate. ``pinball_weight`` is that of the
    median's absolute error (in units of ``pinball_scale_tokens``) beside the likelihood of the lengths.
    """

    epochs: int = 12
    batch: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    members: int = 2
    hidden: int = 192
    embedding_width: int = 16
    intervals: int = 12
    dropout: float = 0.15
    name_dropout: float = 0.1
    text_dropout: float = 0.3
    pinball_weight: float = 1.0
    pinball_scale_tokens: float = 150.0
    calibration_share: float = 0.1
    threads: int = 2
    seed: int = 0
