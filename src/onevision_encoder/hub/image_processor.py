"""Images to model inputs, without torchvision, for transformers' Auto classes and pipelines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PretrainedConfig
from transformers.image_processing_utils import BaseImageProcessor

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.hub.features import EncoderInputs, Modality, Normalization, dense_inputs, packed_inputs
from onevision_encoder.hub.options import (
    IMAGE_OPTIONS,
    ImageLayout,
    ReturnTensors,
    check_choice,
    check_effect,
    check_options,
    hub_arguments,
    plain,
    settings_among,
)
from onevision_encoder.hub.recipes import clip_settings, original_settings
from onevision_encoder.hub.sources import image_list
from onevision_encoder.model.configuration import PRESETS
from onevision_encoder.model.embed import CLIP_MEAN, CLIP_STD
from onevision_encoder.model.shipped import folder_of
from onevision_encoder.selection import SelectionConfig, select
from onevision_encoder.tokens.packing import make_tokens
from onevision_encoder.types import PatchTokens
from onevision_encoder.video import Sampling, Sizing, read_media

NATIVE_PATCHES = 1024
"""Most patches of a native image unless said otherwise: the area of 448 x 448, at which the encoder was trained."""

_DENSE_RECIPES = ("crop224", "image448")
_FIELDS = ("patch_size", "recipe", "max_patches", "side", "merge", "layout", "image_mean", "image_std")


class OneVisionEncoderImageProcessor(BaseImageProcessor):
    """Still images, each by itself, resized, cut into patches and normalised.

    Args:
        patch_size: side of a patch in pixels, the model's.
        recipe: ``native`` keeps each picture's aspect and never enlarges it beyond rounding; ``image448`` is the
            original's (short side to 448 by bicubic, centre crop), equal to ``CLIPImageProcessor``; ``crop224`` the
            same at 224; ``letterbox`` fits into a square, whose padding is not encoded.
        max_patches: most patches of a native picture. side: of the letterbox, pixels.
        merge: patches a side of a unit that sides are multiples of, 1 or 2.
        layout: ``dense`` = [B, 3, H, W], ``packed`` = [N, D] with positions; None = dense for ``image448`` and
            ``crop224``, whose pictures have one size, packed for the others.
        image_mean, image_std: of RGB in 0..1; CLIP's.
    Raises:
        InvalidArgumentError: a value that is not accepted, or an option that does not exist.
    """

    model_input_names = ["pixel_values", "patch_positions", "cu_seqlens"]  # noqa: RUF012  (transformers declares it so)

    def __init__(
        self,
        *,
        patch_size: int = 14,
        recipe: str = "native",
        max_patches: int = NATIVE_PATCHES,
        side: int | None = None,
        merge: int = 1,
        layout: str | None = None,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        **unknown: Any,
    ) -> None:
        super().__init__()
        check_options(unknown, _FIELDS)
        check_choice("layout", layout, ImageLayout)
        self.normalization = Normalization(mean=image_mean, std=image_std)  # type: ignore[arg-type]
        self.sizing = Sizing(patch=patch_size, recipe=recipe, max_patches=max_patches, side=side, merge=merge)  # type: ignore[arg-type]
        self.layout = layout

    @property
    def patch_size(self) -> int:
        return self.sizing.patch

    def preprocess(
        self,
        images: Any,
        *,
        layout: str | None = None,
        return_tensors: str | None = "pt",
        return_metadata: bool = False,
        **options: Any,
    ) -> EncoderInputs:
        """Model inputs of images.

        Args:
            images: a path, bytes, a binary file, a PIL image, a uint8 array or tensor [H, W, 3] or [3, H, W], or a
                list of those. EXIF orientation is applied.
            layout: see the class; what is said here wins.
            return_tensors: ``pt`` (None means it too: the model takes tensors) or ``np``.
            return_metadata: adds ``inputs.metadata``.
            options: ``recipe``, ``max_patches``, ``side``, ``merge``; ``order`` of packed patches.
        Raises:
            InvalidArgumentError, ShapeError, MediaError: no image, unknown options, sizes that do not stack.
        """
        check_options(options, (*IMAGE_OPTIONS, "layout", "return_tensors", "return_metadata"))
        check_choice("layout", layout, ImageLayout)
        check_choice("return_tensors", return_tensors, ReturnTensors)
        recipe = options.get("recipe", self.sizing.recipe)
        check_effect(options, [recipe])
        layout = layout or self.layout or ("dense" if recipe in _DENSE_RECIPES else "packed")
        parts: list[tuple[Modality, PatchTokens]] = [("image", part) for part in self.tokens(images, **options)]
        make = dense_inputs if layout == "dense" else packed_inputs
        return make(parts, self.normalization, return_tensors=return_tensors or "pt", metadata=return_metadata)

    def tokens(self, images: Any, *, order: str = "raster", **options: Any) -> list[PatchTokens]:
        """Every patch of each image, uint8, before normalisation."""
        check_options(options, IMAGE_OPTIONS)
        saved = {name: getattr(self.sizing, name) for name in IMAGE_OPTIONS if name != "order"}
        values = plain({**saved, **options})
        sizing = Sizing(patch=self.sizing.patch, **values)
        every = SelectionConfig(policy="dense", budget="100%", order=order)  # type: ignore[arg-type]
        parts = []
        for image in image_list(images):
            frames = read_media(image, sizing=sizing, sampling=Sampling(num_frames=1))
            if not frames.source.is_image:
                raise InvalidArgumentError("images", frames.source.name, "still images; for a video write videos=...")
            parts.append(make_tokens(frames, select(frames, None, every), request={"sizing": values}))
        return parts

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready settings, without ``auto_map``; those of a crop can be read by ``CLIPImageProcessor`` too."""
        return {
            **clip_settings(self.sizing.recipe),
            "image_processor_type": type(self).__name__,
            "patch_size": self.sizing.patch,
            **{name: getattr(self.sizing, name) for name in ("recipe", "max_patches", "side", "merge")},
            "layout": self.layout,
            "image_mean": list(self.normalization.mean),
            "image_std": list(self.normalization.std),
        }

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """From what :meth:`to_dict` gives, or from the settings of a ``CLIPImageProcessor``; ``kwargs`` win.

        Raises:
            InvalidArgumentError: settings of another class, or a recipe that is none of ours.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        settings = original_settings(image_processor_dict, ours=cls.__name__)
        known = settings_among({**settings, **_of_processor(kwargs)})
        unused = {name: known.pop(name) for name in sorted(set(known) - set(_FIELDS))} if return_unused else {}
        processor = cls(**known)
        return (processor, unused) if return_unused else processor

    @classmethod
    def get_image_processor_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Settings of a folder or hub repository; a folder with ``config.json`` alone has the defaults.

        A preset's name (``large``) has the defaults too. The patch size is that of ``config.json`` unless given.
        """
        source = os.fspath(folder_of(pretrained_model_name_or_path))
        kwargs = _of_processor(kwargs)
        if source in PRESETS:
            return {}, settings_among(kwargs)
        config = _config(source, hub_arguments(kwargs))
        try:
            settings, rest = super().get_image_processor_dict(source, **kwargs)
        except OSError:
            if not config:
                raise
            settings, rest = {}, settings_among(kwargs)
        if "patch_size" in config:
            settings = {"patch_size": config["patch_size"], **settings}
        return settings, rest


def _of_processor(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Pipelines hand the model's arguments (``dtype``, ``device_map`` ...) to the image processor as well."""
    if kwargs.get("_from_pipeline") is None:
        return dict(kwargs)
    return {name: value for name, value in kwargs.items() if name in _FIELDS or not settings_among({name: value})}


def _config(source: str, where: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` beside the settings, {} where there is none."""
    try:
        config, _ = PretrainedConfig.get_config_dict(source, **where)
    except (OSError, ValueError):
        return {}
    return dict(config)
