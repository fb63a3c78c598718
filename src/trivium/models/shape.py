"""The numbers that a model's cost depends on, read off the model."""

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trivium.cost import Shape
from trivium.models.memory import key_width


def shape_of(model: PreTrainedModel) -> Shape:
    """Its shape; the model may be on the meta device, where weights have sizes and no numbers."""
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    embedding = model.get_input_embeddings()
    products = [m for m in model.base_model.modules() if isinstance(m, nn.Linear | Conv1D)]
    given = config.to_dict()
    size = given.get("head_dim") or config.hidden_size // config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        query_width=config.num_attention_heads * size,
        key_width=key_width(model),
        inner=max(max(m.weight.shape) for m in products),
        vocabulary=(head or embedding).weight.shape[0],
        matrices=sum(m.weight.numel() for m in products),
        parameters=model.num_parameters(),
    )
