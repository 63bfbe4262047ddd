"""What the default configuration of some model types lacks, so that their classes can be made.

Type -> settings of its configuration; a class of a type may want others. Classes that are no model of a type of their own (another type's
class under this type's configuration) are not made, nor those that need a library beside transformers and timm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Settings = dict[str, Any]

SERIES: Settings = {"prediction_length": 24, "context_length": 48}
DECODER: Settings = {"is_decoder": True}
SETTINGS: dict[str, Settings] = {
    "autoformer": SERIES,
    "informer": SERIES,
    "time_series_transformer": SERIES,
    "esm": {"vocab_size": 33, "pad_token_id": 1},
    "reformer": DECODER,
    "wav2vec2-bert": {"vocab_size": 32},
    "wav2vec2-conformer": {"vocab_size": 32},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "hunyuan_vl_text": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "dots1": {"n_routed_experts": 8, "moe_intermediate_size": 704, "n_shared_experts": 2, "num_experts_per_tok": 2},
    "timm_backbone": {"backbone": "resnet18", "use_pretrained_backbone": False},
    "perceiver": {"num_cross_attention_heads": 1, "num_self_attention_heads": 1},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention"], "num_hidden_layers": 3},
    "hunyuan_vl": {"text_config": {"head_dim": 128}},
    "aya_vision": {
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152, "num_attention_heads": 16}
    },
    "chameleon": {"vocabulary_map": {"<image>": 8711}},
    "emu3": {"vocabulary_map": {"<image>": 151_851}},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0}},
}
OF_CLASS: dict[str, Settings] = {
    "T5GemmaEncoderModel": {"is_encoder_decoder": False},
    "BeitForSemanticSegmentation": {"out_indices": [3, 5, 7, 11]},
    "HieraForPreTraining": {"decoder_hidden_size": 512, "decoder_depth": 2, "decoder_num_heads": 16},
}


def configured(kind: str, cls: Any, config_class: Callable[..., Any]) -> Any:
    """The configuration that a class is made with: where it takes that of a part, such as the language model alone, the part's."""
    config = config_class(**{**SETTINGS.get(kind, {}), **OF_CLASS.get(cls.__name__, {})})
    wanted = cls.config_class
    if wanted is None or isinstance(config, wanted):
        return config
    return next((value for value in vars(config).values() if isinstance(value, wanted)), config)
