"""The arrays of a NumPy `.npz` file, safe for files from anywhere.

`numpy.load` allocates what a file promises and can unpickle. Here numbers and text are read,
nothing is unpickled, and no array is larger than the bytes that are there.
"""

from __future__ import annotations

import io
import math
import sys
import warnings
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers.files import open_archive

_KINDS = "biufU"
_LONGEST_HEADER = 10_000


def read_arrays(content: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """All arrays by name: truth values, real numbers, or text; read-only.

    Args:
        content: the whole file.
        max_bytes: how much all arrays together may unpack to.

    Raises:
        InputError: damaged, too large, or with anything else in it; the message is the reason.
    """
    files = open_archive(content, (".npy",), max_bytes)
    arrays: dict[str, NDArray[Any]] = {}
    for name in files.names:
        packed = files.read(name)
        max_bytes -= len(packed)
        if max_bytes < 0:
            raise InputError("its arrays unpack to more than such a file may have")
        arrays[name.removesuffix(".npy")] = _array(packed, name.removesuffix(".npy"))
    return arrays


def _array(content: bytes, name: str) -> NDArray[Any]:
    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files of Python 2
            version = npy.read_magic(stream)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(stream, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # NumPy raises more than ValueError on damaged headers
        line = " ".join(str(error).split())[:100]
        raise InputError(f"{name}: not an array, or a damaged one ({line})") from None
    if dtype.kind not in _KINDS:
        what = "Python objects, which are not unpickled" if dtype.hasobject else str(dtype)
        raise InputError(f"{name} holds {what}; save an array of numbers or text")
    data = memoryview(content)[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data) or min(shape, default=0) < 0:
        raise InputError(f"{name}: damaged, it has not as many numbers as it should")
    if not len(data):
        return np.zeros(0)  # no memory for shapes such as (0, 2**60)
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "U" and not _is_text(array):
        raise InputError(f"{name}: damaged, its text is none")
    return array


def _is_text(array: NDArray[Any]) -> bool:
    """Whether all of it are printable characters."""
    letters = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    if letters.max() > sys.maxunicode:  # NumPy fails in many ways to give such text
        return False
    return all(text.isprintable() for text in array.reshape(-1).tolist())
