"""Static quantization of an ONNX file to int8, in QDQ form, with ONNX Runtime's own tool.

Weights are int8 with a scale for each output channel, activations uint8 with one scale and zero
point, from their extremes on calibration images. Weights use 7 of their 8 bits: processors whose
dot products saturate at 16 bits (x86 without VNNI) then compute the same as others, and the bytes
do not depend on where they were made. Method: Jacob et al. 2018, arXiv 1712.05877.

Works on a whole network and on a slice of one (`build_slice`) alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from models.errors import InputError
from models.onnx.names import FLOAT_NODES

Images = npt.NDArray[np.float32]


def quantize_onnx(
    model: bytes, batches: Iterable[Images], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The int8 form of a model of `models.onnx.builder`.

    Args:
        model: float32, with one input.
        batches: preprocessed images (B, C, R, R), a batch at a time; each batch's extremes count
            equally, so that one unusual image does not widen every scale.
        metadata: text for the file's `metadata_props`; those of `model` unless given.

    Returns:
        A model of the same input, output, opset and IR version. Equal arguments give equal bytes.

    Raises:
        InputError: if there is no batch, or one does not fit the model.
    """
    source = onnx.load_from_string(model)
    (expects,) = source.graph.input
    reader = _Reader(expects, batches)
    text = metadata or {entry.key: entry.value for entry in source.metadata_props}
    source = onnx.shape_inference.infer_shapes(source, strict_mode=True)
    add_pre_process_metadata(source)  # batch norms are folded already
    # The tool works on files.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            source,
            path,
            reader,
            quant_format=QuantFormat.QDQ,
            calibrate_method=CalibrationMethod.MinMax,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=[n.name for n in source.graph.node if FLOAT_NODES in n.name],
            extra_options={
                "CalibMovingAverage": True,
                # Logits differ by less than 1/255 of their range.
                "OpTypesToExcludeOutputQuantization": ["Gemm"],
            },
        )
        quantized = onnx.load(path)
    del quantized.graph.value_info[:]
    onnx.helper.set_model_props(quantized, dict(sorted(text.items())))
    serialized: bytes = quantized.SerializeToString(deterministic=True)
    return serialized


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Checks each batch and passes it to the quantization tool."""

    def __init__(self, expects: onnx.ValueInfoProto, batches: Iterable[Images]) -> None:
        self._name = expects.name
        self._shape = tuple(d.dim_value for d in expects.type.tensor_type.shape.dim)[1:]
        self._batches = self._checked(iter(batches))
        self._first: Images | None = next(self._batches, None)
        if self._first is None:
            raise InputError(
                "quantization: expected at least one batch of calibration images, got none"
            )

    def get_next(self) -> dict[str, Images] | None:
        """The next batch by the input's name; None after the last."""
        batch, self._first = self._first, None
        if batch is None:
            batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}

    def _checked(self, batches: Iterator[Images]) -> Iterator[Images]:
        for batch in batches:
            if batch.shape[1:] != self._shape or batch.dtype != np.float32 or not len(batch):
                raise InputError(
                    f"quantization: expected float32 images of shape {self._shape}, "
                    f"got {batch.dtype} {batch.shape}"
                )
            if not np.isfinite(batch).all():
                raise InputError("quantization: expected finite images, got NaN or infinity")
            yield batch
