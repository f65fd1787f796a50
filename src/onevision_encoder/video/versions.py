"""The versions that a result depends on."""

from __future__ import annotations


def library_versions() -> dict[str, str]:
    import av
    import PIL

    from onevision_encoder import __version__

    libraries = {name: ".".join(map(str, v)) for name, v in av.library_versions.items() if name != "libavdevice"}
    return {"onevision_encoder": __version__, "av": av.__version__, "pillow": PIL.__version__, **libraries}
