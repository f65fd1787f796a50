"""The composed model: encoder -> merger -> projector -> the placeholders of any causal language model.

Axes: N patches of a pack, S segments (images, videos), M visual tokens, D = 3*p*p, C width of the language model,
B batch, L tokens of a text, V vocabulary.

Training, generation, caches, LoRA and sharding are transformers' own: the language model sees embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin
from transformers.modeling_utils import PreTrainedModel

from onevision_encoder.errors import InvalidArgumentError, PlaceholderError
from onevision_encoder.lmm.configuration import OneVisionVLConfig
from onevision_encoder.lmm.generation import VisionGeneration
from onevision_encoder.lmm.merger import Merger, Projector, init_weights
from onevision_encoder.lmm.placeholders import placeholder_mask, scatter_features
from onevision_encoder.lmm.units import BLOCK, UnitPlan, plan_units
from onevision_encoder.lmm.vision_inputs import VisionInput, vision_input
from onevision_encoder.model.checkpoint import check_loading_info
from onevision_encoder.model.encoder import OneVisionEncoderModel


class OneVisionForConditionalGeneration(PreTrainedModel, VisionGeneration, GenerationMixin):
    """Text, images and videos in, text out. See :meth:`from_parts` to put one together, :meth:`forward` for inputs.

    Attributes:
        vision_model: the encoder. merger, projector: from patches to tokens. language_model: with its own head.
    """

    config_class = OneVisionVLConfig
    config: OneVisionVLConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ["text", "image", "video"]  # noqa: RUF012  (transformers declares it so)
    supports_gradient_checkpointing = True
    _no_split_modules = ["EncoderLayer", "Merger", "Projector"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(
        self,
        config: OneVisionVLConfig,
        *,
        vision_model: OneVisionEncoderModel | None = None,
        language_model: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        for part in (vision_model, language_model):
            _keep_weights(part)
        self.vision_model = vision_model or OneVisionEncoderModel(config.vision_config)
        self.merger = Merger(config)
        self.projector = Projector(config, self.merger.width)
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        inner = getattr(self.language_model, "_no_split_modules", None) or []
        self._no_split_modules = sorted({*type(self)._no_split_modules, *inner})
        for layer in list(self.vision_model.encoder.layers)[config.num_read_layers :]:
            layer.requires_grad_(False)  # nothing reads it: DDP would wait for its gradient
        self.post_init()  # type: ignore[no-untyped-call]
        self.generation_config.suppress_tokens = [config.image_token_id, config.video_token_id]

    def get_vision_features(
        self,
        pixel_values: Tensor,
        patch_positions: Tensor,
        cu_seqlens: Tensor | Sequence[int] | None = None,
        unit_cu_seqlens: Tensor | Sequence[int] | None = None,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
    ) -> Tensor:
        """What the language model sees of the media, [M, C]; arguments as in :meth:`forward`."""
        given = vision_input(pixel_values, patch_positions, cu_seqlens, unit_cu_seqlens, image_grid_thw, video_grid_thw)
        return self.encode_media(given, self.plan_units(given))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        patch_positions: Tensor | None = None,
        cu_seqlens: Tensor | Sequence[int] | None = None,
        unit_cu_seqlens: Tensor | Sequence[int] | None = None,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        vision_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> Any:
        """Logits of the next token, and the loss where there are labels.

        Args:
            input_ids: int [B, L], one placeholder for each visual token. Media come in the order of placeholders.
            pixel_values: floats [N, D], normalised patches of all media of the batch, end to end.
            patch_positions: [N, 3] (t, h, w) for RoPE. cu_seqlens: int [S + 1], bounds of the media; None = by the
                grids where there is one kind of them, else one medium.
            unit_cu_seqlens: int [M + 1], merger ``attention`` only: the patches of each token (see ``units.py``).
            image_grid_thw, video_grid_thw: int [n, 3], of media that are whole frames or canvases; they must agree
                with ``cu_seqlens``.
            vision_features: [M, C], what :meth:`get_vision_features` gave, in place of pixels.
            attention_mask: [B, L (+ cached)], 0 = padding, on either side. position_ids: None = counted by the mask.
            inputs_embeds: [B, L, C] in place of ``input_ids``; then there are no placeholders to fill.
            labels: int [B, L], -100 = not learned from. Shifted inside, as everywhere in transformers.
            kwargs: of the language model's ``forward``.
        Returns:
            What the language model returns: ``logits`` [B, L, V], ``loss``, ``past_key_values`` ...
        Raises:
            PlaceholderError: another number of placeholders than of visual tokens.
            ShapeError, InvalidArgumentError: naming the argument, its value and what is accepted.
        """
        media = {
            "pixel_values": pixel_values,
            "patch_positions": patch_positions,
            "cu_seqlens": cu_seqlens,
            "unit_cu_seqlens": unit_cu_seqlens,
            "image_grid_thw": image_grid_thw,
            "video_grid_thw": video_grid_thw,
        }
        if (input_ids is None) == (inputs_embeds is None):
            raise InvalidArgumentError("input_ids, inputs_embeds", "both or neither", "exactly one of the two")
        features = self._features(media, vision_features)
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self._embed(input_ids, features)
        elif features is not None:
            raise InvalidArgumentError("inputs_embeds", "given", "input_ids where there are images or videos")
        if features is None and self.training and torch.is_grad_enabled():
            inputs_embeds = inputs_embeds + self._nothing_seen(inputs_embeds).to(inputs_embeds.dtype)
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )

    def _features(self, media: Mapping[str, Any], vision_features: Tensor | None) -> Tensor | None:
        if media["pixel_values"] is None:
            alone = [name for name, value in media.items() if value is not None]
            if alone:
                raise InvalidArgumentError(alone[0], "given", "None without pixel_values")
            return vision_features
        if vision_features is not None:
            raise InvalidArgumentError("vision_features", tuple(vision_features.shape), "None beside pixel_values")
        return self.get_vision_features(**media)

    def _embed(self, input_ids_BL: Tensor, features_MC: Tensor | None) -> Tensor:
        embeds_BLC: Tensor = self.get_input_embeddings()(input_ids_BL)
        if features_MC is None:
            # One new token at a time is what a model wrote; asking the device each time would slow it down.
            if input_ids_BL.shape[1] > 1 and not torch.compiler.is_compiling():
                found = int(self.placeholders(input_ids_BL).sum())
                if found:
                    raise PlaceholderError(found, 0, "there are no pixel_values")
            return embeds_BLC
        return scatter_features(embeds_BLC, self.placeholders(input_ids_BL), features_MC)

    def placeholders(self, input_ids_BL: Tensor) -> Tensor:
        """bool [B, L]: where visual tokens go."""
        return placeholder_mask(input_ids_BL, (self.config.image_token_id, self.config.video_token_id))

    def plan_units(self, given: VisionInput) -> UnitPlan:
        """Which patches become which token."""
        return plan_units(
            self.config.merger,
            given.lengths,
            positions_N3=given.patch_positions,
            unit_cu_seqlens=given.unit_bounds,
            default_tokens=self.config.merger_tokens,
        )

    def encode_media(self, given: VisionInput, plan: UnitPlan) -> Tensor:
        """[M, C]: encoder, merger, projector."""
        layer = self.config.vision_feature_layer
        encoded = self.vision_model(
            given.pixel_values,
            patch_positions=given.patch_positions,
            cu_seqlens=given.bounds,
            output_hidden_states=layer != -1,
            return_dict=True,
        )
        x_NC = encoded.last_hidden_state if layer == -1 else encoded.hidden_states[layer]
        features: Tensor = self.projector(self.merger(x_NC, plan.units))
        return features

    def _nothing_seen(self, like: Tensor) -> Tensor:
        """0 that depends on all weights of the vision side: in a batch of text alone every rank must still take part
        in the gradients (DDP) and gather the weights (FSDP)."""
        patch = self.config.vision_config.patch_size
        block_43 = torch.tensor(BLOCK, device=like.device)
        bounds = [0, 4] if self.config.merger == "attention" else None
        return 0.0 * self.get_vision_features(like.new_zeros((4, 3 * patch * patch)), block_43, [0, 4], bounds).sum()

    def get_input_embeddings(self) -> nn.Module:
        embeddings: nn.Module = self.language_model.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> Any:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: Any) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def get_decoder(self) -> Any:
        return self.language_model.get_decoder()

    def _init_weights(self, module: nn.Module) -> None:
        """Of merger and projector; the encoder and the language model draw their own."""
        std = getattr(self.config.text_config, "initializer_range", 0.02)
        init_weights(module, std)

    @classmethod
    def from_parts(cls, encoder: Any, language_model: Any, **options: Any) -> tuple[Any, Any]:
        """A model and its processor from an encoder and a language model: see :func:`~.composing.compose`."""
        from onevision_encoder.lmm.composing import compose

        return compose(cls, encoder, language_model, **options)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        """As in transformers, but a checkpoint that does not fit the model is an error, not a warning.

        Raises:
            CheckpointError: tensors are missing, or there are tensors the model has no place for.
        """
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        model, info = loaded
        check_loading_info(pretrained_model_name_or_path, info, use_head=True)
        return (model, info) if output_loading_info else model


def _keep_weights(part: nn.Module | None) -> None:
    """Mark weights as drawn or loaded, so that ``post_init`` of the whole does not draw them again."""
    if part is not None:
        for owner in (*part.modules(), *part.parameters(), *part.buffers()):
            vars(owner)["_is_hf_initialized"] = True
