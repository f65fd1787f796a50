"""Which signal providers can be used here, in words."""

from __future__ import annotations

from onevision_encoder.codec.blockcoder import BlockCoder, has_vector_kernels
from onevision_encoder.codec.native import CODEC_NAMES
from onevision_encoder.errors import SignalUnavailableError


def provider_states() -> dict[str, str]:
    """Provider -> what it has to work with, or what it lacks."""
    from onevision_encoder.video.decoders import available_encoders

    try:
        BlockCoder().check("sample")
        kernels = "vector and scalar" if has_vector_kernels() else "scalar"
        coder = f"the default; extension loaded, {kernels} kernels; any source"
    except SignalUnavailableError as error:
        coder = f"the default, and not usable: {error.cause}"
    proxy = "libx264 is there; any source" if available_encoders()["libx264"] else "not usable: PyAV without libx264"
    return {"blockcoder": coder, "x264proxy": proxy, "native": f"{CODEC_NAMES} files"}
