"""The torch modules that are fitted; `detectors.hazard` computes the same with numpy."""

from typing import cast

import torch
from torch import Tensor, nn

from detectors.features import BUCKETS, STREAMS
from detectors.hazard import EMBEDDING, WIDTH


class LogLinear(nn.Module):
    """logit = bias[stream] + sum over slots of weights[stream, bucket]; all start at 0."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.clone())
        self.weights = nn.Parameter(torch.zeros(STREAMS * BUCKETS, dtype=bias.dtype))

    def forward(self, stream: Tensor, flat: Tensor) -> Tensor:
        """`stream`: (n,). `flat`: (n, slots) indices into the flattened weights. Returns (n,)."""
        return self.bias[stream] + self.weights[flat].sum(dim=1)


class Recurrent(nn.Module):
    """Read-out of a causal GRU's state before each call, added to a fixed logit; starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(BUCKETS, EMBEDDING, mode="sum")
        self.gru = nn.GRU(EMBEDDING, WIDTH, batch_first=True)
        self.readout = nn.Parameter(torch.zeros(STREAMS, WIDTH))

    def forward(self, tokens: Tensor, row: Tensor, step: Tensor, stream: Tensor) -> Tensor:
        """`tokens`: (batch, calls, 4). The others, (n,): which trajectory, call and stream an
        opportunity is of. Returns the residual logit, (n,).
        """
        batch, calls, width = tokens.shape
        vectors = self.embedding(tokens.reshape(-1, width)).reshape(batch, calls, -1)
        after = cast(Tensor, self.gru(vectors)[0])
        before = torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], dim=1)
        return (before[row, step] * self.readout[stream]).sum(dim=1)
