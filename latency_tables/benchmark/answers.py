"""What a model answers under a runtime: the logits of given images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latency_tables.runtimes import find_runtime
from latency_tables.table import Conditions
from models.errors import InputError

Images = npt.NDArray[np.float32]


def runtime_logits(model: bytes, images_BCRR: Images, conditions: Conditions) -> Images | None:
    """Logits (B, classes) of an ONNX model of this project; None where the runtime gives none.

    The model is opened as it is timed: for batches of `conditions.batch` images.

    Args:
        conditions: runtime, provider, threads, batch, and the precision of the model as it is.

    Raises:
        NotFound: no such runtime is registered.
        InputError: the provider does not run it here.
    """
    runtime, batch = find_runtime(conditions.runtime), conditions.batch
    try:
        opened = runtime.open(
            runtime.convert(model, conditions.precision),
            provider=conditions.provider,
            threads=conditions.threads or 1,
            batch=batch,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    if (infer := getattr(opened, "infer", None)) is None:
        return None
    parts = [images_BCRR[start : start + batch] for start in range(0, len(images_BCRR), batch)]
    # The last images again, where they do not fill a batch.
    logits = [infer(np.resize(part, (batch, *part.shape[1:])))[: len(part)] for part in parts]
    return np.concatenate(logits)
