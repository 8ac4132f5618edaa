"""Which accelerators can be seen, asked without importing a framework."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from functools import cache

__all__ = ["gpu_usable", "gpu_visible", "has_amx"]


@cache
def gpu_visible() -> bool:
    """Whether the CUDA driver reports a device.  Takes no framework and a millisecond."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    names = ("nvcuda.dll",) if os.name == "nt" else ("libcuda.so.1", "libcuda.so")
    for name in names:
        try:
            driver = ctypes.CDLL(name)
            devices = ctypes.c_int(0)
            if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(devices)) == 0:
                return devices.value > 0
        except (OSError, AttributeError):
            continue
    return False


@cache
def has_amx() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in hardware (Intel's AMX).

    Where it has to emulate that, bfloat16 is slower than float32: 0.73 with AVX-512's instructions
    for it, 0.27 without.  OpenVINO itself lists the type wherever it can be emulated.
    """
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return any("amx_bf16" in line.split() for line in file if line.startswith("flags"))
    except OSError:
        return False


@cache
def gpu_usable() -> bool:
    """Whether Keras's backend can run on a GPU here.  Imports Keras, unless there is no GPU."""
    if not gpu_visible():
        return False
    from parecido.indexer.encoders.machine.imports import prepare_keras

    with prepare_keras():
        import keras
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return any(device.platform in ("gpu", "cuda", "rocm") for device in jax.devices())
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available())
    return False
