"""The encoder: a vision transformer over packed patches with three-axis RoPE and an attention-pooling head.

Axes: N tokens of the pack, S segments (clips or images), C width, D = 3*p*p, B batch, L tokens of a batch item,
3 = (t, h, w) or RGB.

Parameter names, shapes and the forward pass are those of the published checkpoints (the original's
``modeling_onevision_encoder.py``); ``tests/model/test_parity.py`` holds them to it. There are no buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.attention import AttentionPlan, accepted, check_gradients, plan_attention
from onevision_encoder.model.block import EncoderLayer
from onevision_encoder.model.card import CARD, is_blank_card, model_card, write_model_card
from onevision_encoder.model.checkpoint import check_loading_info
from onevision_encoder.model.configuration import PRESETS, OneVisionEncoderConfig
from onevision_encoder.model.inputs import PackedInput, build_input
from onevision_encoder.model.layers import LayerNorm, PatchEmbeddings, RMSNorm, make_norm, widen
from onevision_encoder.model.place import PlaceEmbedding
from onevision_encoder.model.pooling import PoolingHead
from onevision_encoder.model.rope import RopeTable, rope_table
from onevision_encoder.model.segments import Segments
from onevision_encoder.model.shipped import folder_of
from onevision_encoder.model.tiled import TiledRunner

if TYPE_CHECKING:
    from onevision_encoder.model.embed import Embeddings


class Encoder(nn.Module):
    """The stack of blocks."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config, i) for i in range(config.num_hidden_layers))

    def forward(
        self, x_NC: Tensor, rope: RopeTable, plan: AttentionPlan, keep_states: bool = False
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Returns the stream after the last block, the stream before each block and the attention weights."""
        states: list[Tensor] = []
        attentions: list[Tensor] = []
        runner = TiledRunner(plan, rope) if TiledRunner.applies(x_NC, plan, self.layers) else None
        for layer in cast(Iterable[EncoderLayer], self.layers):
            if runner is not None:
                if keep_states:
                    states.append(x_NC.clone())  # the runner overwrites it
                runner.run(layer, x_NC)
                continue
            if keep_states:
                states.append(x_NC)
            x_NC, weights = layer(x_NC, rope, plan)
            if weights is not None:
                attentions.append(weights)
        return x_NC, states, attentions


class OneVisionEncoderModel(PreTrainedModel):
    """Encodes patches, images and videos; see :meth:`forward` for the layouts.

    Attention is SDPA unless ``attn_implementation`` says otherwise.
    """

    config_class = OneVisionEncoderConfig
    config: OneVisionEncoderConfig
    base_model_prefix = "onevision_encoder"
    main_input_name = "pixel_values"
    input_modalities = ["image", "video"]  # noqa: RUF012  (transformers declares it so)
    supports_gradient_checkpointing = True
    _no_split_modules = ["EncoderLayer", "PoolingHead"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__(config)
        self.embeddings = PatchEmbeddings(config)
        self.layernorm_pre = make_norm(config)
        self.encoder = Encoder(config)
        self.layernorm_post = make_norm(config) if config.use_head else None
        self.head = PoolingHead(config) if config.use_head else None
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        pixel_values: Tensor,
        *,
        visible_indices: Tensor | None = None,
        patch_positions: Tensor | None = None,
        cu_seqlens: Tensor | Sequence[int] | None = None,
        window_cu_seqlens: Tensor | Sequence[int] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Encode normalised pixels, told apart by rank.

        Args:
            pixel_values: floats of any precision (they are cast to the dtype of the weights):
                ``[N, D]`` packed patches in (channel, y, x) order, of any number of clips end to end;
                ``[B, 3, H, W]`` images; ``[B, 3, T, H, W]`` videos. H and W are multiples of the patch.
            visible_indices: integers [B, K] into the patches of an item, ordered (t, h, w); dense input only.
                K different from the number of patches L: only those are embedded and encoded, at their
                positions. K = L: nothing is dropped, and the indices say where each patch is, on a grid of
                ``rope_temporal_size`` frames (the original's rule; to be clear, say ``patch_positions``).
            patch_positions: (t, h, w) for RoPE, integers or floats, [N, 3] for packed input (required) and
                [B, K, 3] or [1, K, 3] for dense input. Without it a video has t = 0 .. T-1, whatever T is
                (weights trained on 64 frames have not seen t > 63).
            cu_seqlens: bounds of the segments of packed input, S + 1 integers 0 ... N; None = one segment.
                Segments never see each other. Under ``torch.compile`` and ``torch.export`` a tensor stays on the
                device: one graph for any clips, with an N x N mask (see ``marked.py``); a list is part of the graph.
            window_cu_seqlens: bounds of attention windows of packed input, among them every bound of
                ``cu_seqlens``; None = as ``config.window_frames`` says (see ``windows.py``).
            output_attentions: needs ``attn_implementation="eager"``, segments of one length, no windows.
        Returns:
            ``BaseModelOutputWithPooling`` in the dtype of the weights: ``last_hidden_state`` [N, C] for packed
            and [B, K, C] for dense input, after ``layernorm_post`` if there is a head; ``pooler_output`` [S, C]
            or [B, C], None without a head; ``hidden_states``: layers + 1 entries, the first after
            ``layernorm_pre``, the last before ``layernorm_post``; ``attentions``: [B, heads, K, K] for each layer.
        Raises:
            ShapeError, InvalidArgumentError: naming the argument, its value and what is accepted.
        """
        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        want_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        as_dict = self.config.return_dict if return_dict is None else return_dict
        packed = build_input(
            pixel_values,
            config=self.config,
            visible_indices=visible_indices,
            patch_positions=patch_positions,
            cu_seqlens=cu_seqlens,
            window_cu_seqlens=window_cu_seqlens,
        )
        if want_attentions:
            self._check_attentions(packed)
        x_NC, states, attentions = self._encode(packed, keep_states=bool(want_states))
        if want_states:
            states = [*states, x_NC]
        dtype = self.dtype
        last_NC = x_NC if self.layernorm_post is None else self.layernorm_post(x_NC)
        pooled_SC = None if self.head is None else self.head(last_NC, packed.segments).to(dtype)

        def shaped(x: Tensor) -> Tensor:
            x = x.to(dtype)
            return x if packed.batch is None else torch.unflatten(x, 0, packed.batch)

        output = BaseModelOutputWithPooling(
            last_hidden_state=shaped(last_NC),
            pooler_output=pooled_SC,
            hidden_states=tuple(shaped(state) for state in states) if want_states else None,
            attentions=tuple(attentions) if want_attentions else None,
        )
        return output if as_dict else output.to_tuple()

    def _encode(self, packed: PackedInput, keep_states: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The packed core: patches, positions, segments -> residual stream [N, C], at least float32."""
        config = self.config
        positions_N3 = packed.windows.sort(packed.positions_N3)
        rope = rope_table(
            positions_N3,
            head_dim=config.hidden_size // config.num_attention_heads,
            theta=config.rope_theta,
            mode=config.rope_mode,
        )
        patches_ND = packed.windows.sort(packed.patches_ND)
        x_NC = widen(self.layernorm_pre(self.embeddings(patches_ND, positions_N3)))
        check_gradients(config._attn_implementation, x_NC)
        plan = plan_attention(
            config._attn_implementation, packed.windows.segments, patches_ND.shape[0], patches_ND.device
        )
        x_NC, states, attentions = self.encoder(x_NC, rope, plan, keep_states)
        return packed.windows.unsort(x_NC), [packed.windows.unsort(state) for state in states], attentions

    def _check_attentions(self, packed: PackedInput) -> None:
        name = self.config._attn_implementation
        if name != "eager":
            raise InvalidArgumentError(
                "output_attentions", True, f'False with attn_implementation={name!r}; only "eager" has the weights'
            )
        if packed.windows.segments != packed.segments:
            raise InvalidArgumentError("output_attentions", True, "False where attention is windowed")
        if not isinstance(packed.segments, Segments) or len(packed.segments.runs) != 1:
            raise InvalidArgumentError("output_attentions", True, "False for segments of different lengths")

    def encode_video(self, source: Any, *, return_tokens: bool = False, **options: Any) -> Embeddings:
        """Embeddings of a video by its file: :func:`tokenize` and :func:`embed_tokens` in one call.

        Args:
            source: path, URL, bytes or binary file; uint8 RGB [T, H, W, 3]; a list of pictures, which are the frames
                of one video; or a list of files or of [T, H, W, 3] arrays, each a clip of its own.
            return_tokens: also give the embedding of every token.
            options: of :func:`tokenize`: ``budget=2048``, ``policy="codec"``, ``num_frames=64``, ... The patch size is
                the model's.
        Raises:
            What the two raise.
        """
        from onevision_encoder.model.sources import encode_videos

        return encode_videos(self, source, return_tokens=return_tokens, options=options)

    def encode_image(self, source: Any, *, return_tokens: bool = False, **options: Any) -> Embeddings:
        """Embeddings of a still image or a list of them (paths, bytes, PIL images, uint8 [H, W, 3] arrays).

        Args:
            return_tokens, options: as for :meth:`encode_video`; all patches are read unless a ``budget`` is given.
        Raises:
            InvalidArgumentError: a source is a video. And what :func:`tokenize` and :func:`embed_tokens` raise.
        """
        from onevision_encoder.model.sources import encode_images

        return encode_images(self, source, return_tokens=return_tokens, options=options)

    def _check_and_adjust_attn_implementation(self, attn_implementation: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, with an error that names what is accepted and says what stands in the way."""
        try:
            return super()._check_and_adjust_attn_implementation(attn_implementation, *args, **kwargs)
        except (ImportError, ValueError) as error:
            raise InvalidArgumentError("attn_implementation", attn_implementation, accepted(error)) from error

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embedding

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights, zero biases, unit norms. transformers keeps loaded tensors out of reach of these calls."""
        std = self.config.initializer_range
        if isinstance(module, PlaceEmbedding):
            nn.init.normal_(module.weight, std=self.config.place_std)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, LayerNorm | RMSNorm):
            nn.init.ones_(module.weight)
            if isinstance(module, LayerNorm):
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_weight, std=std)
            nn.init.zeros_(module.in_proj_bias)
        elif isinstance(module, PoolingHead):
            nn.init.normal_(module.probe, std=std)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        """As in transformers, but a checkpoint that does not fit the model is an error, not a warning.

        Raises:
            CheckpointError: tensors are missing, or there are tensors the model has no place for (those of the
                head may be left out on purpose, with ``use_head=False``).
            InvalidArgumentError: the name of a preset, which has no weights.
        """
        name = pretrained_model_name_or_path
        if isinstance(name, str) and name in PRESETS and not Path(name).is_dir():
            allowed = f"a folder or a hub id; a preset has random weights and is made by load_encoder({name!r})"
            raise InvalidArgumentError("pretrained_model_name_or_path", name, allowed)
        loaded: Any = super().from_pretrained(folder_of(name), *args, output_loading_info=True, **kwargs)
        model, info = loaded
        check_loading_info(pretrained_model_name_or_path, info, use_head=model.config.use_head)
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, *args: Any, **kwargs: Any) -> None:
        """As in transformers, and a model card (``README.md``) where there is none: see ``card.py``."""
        folder = Path(save_directory)
        card = folder / CARD
        own = card.read_text(encoding="utf-8") if card.is_file() else None
        self._card = own  # transformers puts its own in the folder it pushes
        try:
            super().save_pretrained(str(save_directory), is_main_process, *args, **kwargs)
        finally:
            del self._card
        if is_main_process and folder.is_dir():
            write_model_card(self, folder)

    def _upload_modified_files(self, working_dir: Any, repo_id: str, *args: Any, **kwargs: Any) -> Any:
        """Where transformers would push an empty form, push the card instead."""
        card = Path(working_dir) / CARD
        if not card.is_file() or is_blank_card(card.read_text(encoding="utf-8")):
            own = getattr(self, "_card", None)
            card.write_text(model_card(self, name=repo_id) if own is None else own, encoding="utf-8")
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)
