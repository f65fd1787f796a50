"""A model from its parts: an encoder, a language model, and what stands between them, new."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PretrainedConfig
from transformers.modeling_utils import PreTrainedModel

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, RandomWeightsWarning
from onevision_encoder.hub.image_processor import OneVisionEncoderImageProcessor
from onevision_encoder.lmm.configuration import IMAGE_TOKEN, VIDEO_TOKEN, VISION_TOKENS, OneVisionVLConfig
from onevision_encoder.lmm.language_presets import LANGUAGE_PRESETS, language_preset
from onevision_encoder.lmm.processing import OneVisionVLProcessor
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.encoder import OneVisionEncoderModel
from onevision_encoder.model.loading import load_encoder

_OF_CONFIG = ("merger_tokens", "projector_hidden_size", "vision_feature_layer")
_LANGUAGE = "a folder, a hub id owner/name, the preset tiny, a configuration, or a loaded causal language model"


def compose(
    cls: type[Any],
    encoder: str | Path | OneVisionEncoderConfig | OneVisionEncoderModel,
    language_model: str | Path | PretrainedConfig | PreTrainedModel,
    *,
    tokenizer: Any = None,
    merger: str = "2x2",
    dtype: torch.dtype = torch.float32,
    attn_implementation: str = "sdpa",
    seed: int = 0,
    **options: Any,
) -> tuple[Any, OneVisionVLProcessor]:
    """A model, ready to train, and its processor.

    Args:
        encoder: a folder, hub id or preset (random weights, with a warning) as for
            :func:`onevision_encoder.load_encoder`, a configuration (random weights), or a loaded encoder. Its pooling
            head is left out.
        language_model: a folder or hub id of any ``AutoModelForCausalLM``, the preset ``tiny`` (random weights, with a
            warning; its name wins over a folder's), a configuration (random weights), or a loaded one. No remote code
            is run.
        tokenizer: None = the language model's own; needed where ``language_model`` is no folder or id. Placeholders
            it lacks are added to it, and the embeddings grow where they are too few.
        merger: ``none``, ``2x2`` or ``attention``.
        dtype: of all weights. seed: of the new ones (merger, projector, embeddings, parts without weights).
        options: ``merger_tokens``, ``projector_hidden_size``, ``vision_feature_layer`` of
            :class:`OneVisionVLConfig`; others are defaults of :class:`OneVisionVLProcessor`.
    Returns:
        (model in ``eval`` mode, processor); each has ``save_pretrained``, and one folder may hold both.
    Raises:
        CheckpointError: the encoder, the language model or its tokenizer cannot be loaded.
        InvalidArgumentError: no tokenizer, unknown options.
    Warns:
        RandomWeightsWarning: a preset.
    """
    if isinstance(language_model, str) and language_model in LANGUAGE_PRESETS:
        cause = f"the language model {language_model!r} is a preset of random weights: what it writes means nothing"
        warnings.warn(cause, RandomWeightsWarning, stacklevel=3)
        language_model, own = language_preset(language_model)
        tokenizer = own if tokenizer is None else tokenizer
    tokenizer = _tokenizer(language_model) if tokenizer is None else tokenizer
    with torch.random.fork_rng(devices=[]):  # the caller's random state is none of our business
        torch.manual_seed(seed)
        eyes = _encoder(encoder, dtype, attn_implementation)
        mouth = _language_model(language_model, dtype, attn_implementation)
        add_vision_tokens(tokenizer, mouth)
        config = OneVisionVLConfig(
            vision_config=eyes.config,
            text_config=mouth.config,
            merger=merger,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
            video_token_id=tokenizer.convert_tokens_to_ids(VIDEO_TOKEN),
            **{name: options.pop(name) for name in _OF_CONFIG if name in options},
        )
        config._attn_implementation = attn_implementation
        model = cls(config, vision_model=eyes, language_model=mouth)
    torch.nn.Module.to(model, dtype).train(False)
    for part in (config, config.vision_config, config.text_config):
        part.dtype = dtype
    _take_generation(model, mouth, tokenizer)
    return model, OneVisionVLProcessor(_pictures(encoder, eyes), tokenizer, merger=merger, **options)


def add_vision_tokens(tokenizer: Any, language_model: PreTrainedModel | None = None) -> int:
    """Make a tokenizer know the placeholders; returns how many it lacked.

    ``language_model``: its embeddings grow where they have fewer rows than the tokenizer has tokens (never shrink).
    """
    known = tokenizer.get_vocab()
    lacking = [token for token in VISION_TOKENS if token not in known]
    if lacking:
        tokenizer.add_special_tokens({"additional_special_tokens": lacking}, **_keeping(tokenizer))
    if language_model is not None:
        embeddings: Any = language_model.get_input_embeddings()
        rows = embeddings.weight.shape[0]
        if len(tokenizer) > rows:
            language_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return len(lacking)


def _keeping(tokenizer: Any) -> dict[str, Any]:
    """The argument by which special tokens that are there already stay; its name depends on transformers."""
    import inspect

    names = inspect.signature(tokenizer.add_special_tokens).parameters
    return {
        name: False for name in ("replace_additional_special_tokens", "replace_extra_special_tokens") if name in names
    }


def _tokenizer(language_model: Any) -> Any:
    if not isinstance(language_model, str | Path):
        allowed = "the tokenizer of the language model, which here is no folder or hub id to read it from"
        raise InvalidArgumentError("tokenizer", None, allowed)
    with _naming(language_model, "a tokenizer"):
        return AutoTokenizer.from_pretrained(language_model, trust_remote_code=False)


def _encoder(encoder: Any, dtype: torch.dtype, attention: str) -> OneVisionEncoderModel:
    if isinstance(encoder, OneVisionEncoderConfig):
        config = copy.deepcopy(encoder)
        config.use_head = False
        return OneVisionEncoderModel(config)
    if isinstance(encoder, OneVisionEncoderModel):
        model = encoder
    else:
        model = load_encoder(encoder, dtype=dtype, device="cpu", attn_implementation=attention).model
    return _headless(model) if model.config.use_head else model


def _pictures(encoder: Any, eyes: OneVisionEncoderModel) -> OneVisionEncoderImageProcessor:
    """Normalisation as the encoder's own files say, sizes native: language models want every picture whole."""
    if isinstance(encoder, str | Path):
        made: OneVisionEncoderImageProcessor = OneVisionEncoderImageProcessor.from_pretrained(
            encoder, recipe="native", layout=None
        )
        return made
    return OneVisionEncoderImageProcessor(patch_size=eyes.config.patch_size)


def _headless(model: OneVisionEncoderModel) -> OneVisionEncoderModel:
    """The same tensors without the head, which nothing here reads; the caller's encoder keeps its own."""
    config = copy.deepcopy(model.config)
    config.use_head = False
    with torch.device("meta"):
        bare = OneVisionEncoderModel(config)
    kept = bare.state_dict().keys()
    state = {name: value for name, value in model.state_dict().items() if name in kept}
    bare.load_state_dict(state, assign=True)
    return bare


def _language_model(language_model: Any, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    if isinstance(language_model, PreTrainedModel):
        return language_model
    if isinstance(language_model, PretrainedConfig):
        made: PreTrainedModel = AutoModelForCausalLM.from_config(
            copy.deepcopy(language_model), attn_implementation=attention
        )
        return made
    if not isinstance(language_model, str | Path):
        raise InvalidArgumentError("language_model", type(language_model).__name__, _LANGUAGE)
    with _naming(language_model, "a causal language model"):
        loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            language_model, dtype=dtype, attn_implementation=attention, trust_remote_code=False
        )
    return loaded


@contextmanager
def _naming(source: str | Path, what: str) -> Iterator[None]:
    """What transformers says of a source, as an error that names it, without its lists of everything it knows."""
    try:
        yield
    except (OSError, ValueError) as error:
        said = " ".join(str(error).partition("Model type should be one of")[0].split())
        raise CheckpointError(source, f"{what} is wanted; transformers says: {said[:300]}") from error


def _take_generation(model: Any, language_model: Any, tokenizer: Any) -> None:
    """How the language model generates is kept; it must not write placeholders."""
    suppressed = model.generation_config.suppress_tokens
    given = getattr(language_model, "generation_config", None)
    model.generation_config = copy.deepcopy(given) if given is not None else GenerationConfig()
    model.generation_config.suppress_tokens = suppressed
    for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
        if getattr(model.generation_config, name) is None:
            setattr(model.generation_config, name, getattr(tokenizer, name))
