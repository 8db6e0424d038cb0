"""An artefact that is trained once for all tests of this folder."""

import pytest
from recorded_calls import loops, quickly_trained

from maestro_solver.predictor.artefact import Artefact


@pytest.fixture(scope="session")
def artefact() -> Artefact:
    return quickly_trained(loops(120, seed=1))
