"""Depthwise convolution whose weight gradient is fast on a CPU.

Forward and input gradient are torch's own. The weight gradient of 5x5 and 7x7 kernels is
computed by `depthwise.cpp`, compiled on first use; without a compiler (or off the CPU, or for
shapes it does not cover) everything falls back to torch, and only the time differs.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_SOURCE = Path(__file__).with_name("depthwise.cpp")
OPTIONS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
"""Without -ffast-math, whose start-up code would flush denormals in the whole process."""


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_C1KK: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight_C1KK)
        ctx.stride = stride
        padding = weight_C1KK.shape[-1] // 2
        return F.conv2d(x_BCHW, weight_C1KK, None, stride, padding, 1, weight_C1KK.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x_BCHW, weight_C1KK = ctx.saved_tensors
        grad_BCHW = grads[0].contiguous(memory_format=torch.channels_last)
        grad_weight = _weight_gradient(x_BCHW, grad_BCHW, weight_C1KK, ctx.stride)
        needs = [ctx.needs_input_grad[0], grad_weight is None, False]
        padding = [weight_C1KK.shape[-1] // 2] * 2
        grad_x, torch_grad_weight, _ = torch.ops.aten.convolution_backward(
            grad_BCHW,
            x_BCHW,
            weight_C1KK,
            None,
            [ctx.stride] * 2,
            padding,
            [1, 1],
            False,
            [0, 0],
            weight_C1KK.shape[0],
            needs,
        )
        return grad_x, torch_grad_weight if grad_weight is None else grad_weight, None


def depthwise_conv(x_BCHW: Tensor, weight_C1KK: Tensor, stride: int) -> Tensor:
    """Depthwise convolution, padding k // 2, no bias; (B, C, H, W) -> (B, C, H', W')."""
    if torch.is_grad_enabled() and x_BCHW.device.type == "cpu":
        out: Tensor = _DepthwiseConv.apply(x_BCHW, weight_C1KK, stride)  # type: ignore[no-untyped-call]
        return out
    padding = weight_C1KK.shape[-1] // 2
    return F.conv2d(x_BCHW, weight_C1KK, None, stride, padding, 1, weight_C1KK.shape[0])


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, stride: int) -> Tensor | None:
    kernel = _compiled()
    dense = x.is_contiguous(memory_format=torch.channels_last)
    if kernel is None or not dense or x.dtype != torch.float32 or weight.shape[-1] < 5:
        return None
    out = torch.empty(weight.shape)
    (batch, channels, height, width), (out_height, out_width) = x.shape, grad.shape[2:]
    failed = kernel(
        x.data_ptr(),
        grad.data_ptr(),
        out.data_ptr(),
        batch,
        height,
        width,
        channels,
        out_height,
        out_width,
        weight.shape[-1],
        stride,
    )
    return None if failed else out


@cache
def _compiled() -> Callable[..., int] | None:
    """The compiled kernel, or None where this machine has no C++ compiler.

    The library's name is a hash of source, options and the processor's features, so machines that
    share a folder do not load one another's instructions.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None or os.environ.get("SUBNET_NATIVE_KERNELS") == "0":
        return None
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text().partition("flags")[2].partition("\n")[0] if cpu.exists() else ""
    hashed = "\n".join([*OPTIONS, flags]).encode() + _SOURCE.read_bytes()
    folder = Path(tempfile.gettempdir()) / f"subnet-search-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        return None  # a library of another user is not loaded
    library = folder / f"depthwise-{hashlib.sha256(hashed).hexdigest()[:16]}.so"
    if not library.exists():
        partial = library.with_suffix(f".{os.getpid()}")
        command = [compiler, *OPTIONS, str(_SOURCE), "-o", str(partial)]
        built = subprocess.run(command, capture_output=True, check=False)
        if built.returncode:
            return None
        partial.replace(library)
    function = ctypes.CDLL(str(library)).depthwise_weight_gradient
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 8
    function.restype = ctypes.c_int
    return function
