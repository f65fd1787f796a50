"""Configuration of the composed model: the encoder's, the language model's, and what stands between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.configuration import OneVisionEncoderConfig

MergerName = Literal["none", "2x2", "attention"]
PATCHES_PER_TOKEN = {"none": 1, "2x2": 4}
"""Mergers whose tokens always stand for the same number of patches."""

IMAGE_TOKEN, VIDEO_TOKEN = "<|image_pad|>", "<|video_pad|>"
START_TOKEN, END_TOKEN = "<|vision_start|>", "<|vision_end|>"
VISION_TOKENS = (START_TOKEN, END_TOKEN, IMAGE_TOKEN, VIDEO_TOKEN)
"""Qwen's names, which the tokenizers of Qwen2.5 and Qwen3 hold already; others get them added."""

DEFAULT_TEXT = "qwen3"


class OneVisionVLConfig(PretrainedConfig):
    """A vision encoder, a merger with its projector, and a causal language model.

    Args:
        vision_config: of the encoder, built without its pooling head, which nothing here reads.
        text_config: of any model that ``AutoModelForCausalLM`` knows; None = Qwen3's default.
        merger: how many patches a token of the language model stands for. ``none`` = one, ``2x2`` = four neighbours
            (rows in ``block2`` order), ``attention`` = any number, pooled by a learned query.
        merger_tokens: tokens of an image or video with merger ``attention`` where the inputs do not say how many.
        projector_hidden_size: width inside the projector; None = four times the encoder's for ``2x2`` (as in
            LLaVA-OneVision-2 and Qwen-VL), the language model's else (as in LLaVA).
        vision_feature_layer: which residual stream is read: -1 = after the last block, -2 = after the last but one
            (the original's choice), ... Blocks that are not read are not computed into the result, nor trained.
        image_token_id, video_token_id: of the placeholders; the two differ.
    Raises:
        InvalidArgumentError: a value outside what is written above.
    """

    model_type = "onevision_vl"
    sub_configs = {"vision_config": OneVisionEncoderConfig, "text_config": AutoConfig}  # noqa: RUF012
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012

    def __init__(
        self,
        vision_config: OneVisionEncoderConfig | Mapping[str, Any] | None = None,
        text_config: PretrainedConfig | Mapping[str, Any] | None = None,
        merger: str = "2x2",
        merger_tokens: int = 64,
        projector_hidden_size: int | None = None,
        vision_feature_layer: int = -1,
        image_token_id: int = 151655,
        video_token_id: int = 151656,
        **kwargs: Any,
    ) -> None:
        if not isinstance(vision_config, OneVisionEncoderConfig):
            fields = {"use_head": False, **(vision_config or {})}
            fields.pop("model_type", None)
            vision_config = OneVisionEncoderConfig(**fields)
        if not isinstance(text_config, PretrainedConfig):
            fields = dict(text_config or {})
            text_config = CONFIG_MAPPING[fields.pop("model_type", DEFAULT_TEXT)](**fields)
        self.vision_config, self.text_config = vision_config, text_config
        self.merger, self.merger_tokens = merger, merger_tokens
        self.projector_hidden_size = projector_hidden_size
        self.vision_feature_layer = vision_feature_layer
        self.image_token_id, self.video_token_id = image_token_id, video_token_id
        self._check()
        kwargs.pop("auto_map", None)  # names remote code: never followed, never written again
        kwargs["tie_word_embeddings"] = getattr(text_config, "tie_word_embeddings", False)
        super().__init__(**kwargs)

    @property
    def patches_per_token(self) -> int | None:
        """1 or 4; None where it is the inputs that say."""
        return PATCHES_PER_TOKEN.get(self.merger)

    @property
    def num_read_layers(self) -> int:
        """Blocks of the encoder whose output is read."""
        layers: int = self.vision_config.num_hidden_layers
        return layers + 1 + self.vision_feature_layer

    def to_dict(self) -> dict[str, Any]:
        """As in transformers, without ``auto_map``: a saved folder names no remote code."""
        fields: dict[str, Any] = super().to_dict()
        fields.pop("auto_map", None)
        return fields

    def _check(self) -> None:
        if self.merger not in get_args(MergerName):
            raise InvalidArgumentError("merger", self.merger, f"one of {get_args(MergerName)}")
        for name in ("merger_tokens", "projector_hidden_size"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InvalidArgumentError(name, value, "an integer of at least 1")
        layers = self.vision_config.num_hidden_layers
        if type(self.vision_feature_layer) is not int or not -layers <= self.vision_feature_layer <= -1:
            raise InvalidArgumentError("vision_feature_layer", self.vision_feature_layer, f"{-layers} .. -1")
        if self.vision_config.use_head:
            allowed = "False: a language model reads patches, nothing reads the pooling head"
            raise InvalidArgumentError("vision_config.use_head", True, allowed)
        if self.image_token_id == self.video_token_id:
            raise InvalidArgumentError("video_token_id", self.video_token_id, "another id than image_token_id")
