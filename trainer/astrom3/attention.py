# SPDX-License-Identifier: BSD-3-Clause
"""ProbSparse attention as the published weights know it.

Per head only the few queries that stand out most get attention; all other rows receive the mean of the
values. Two things of the original are part of the function that its weights were trained as, and are kept:

- *Layout.* The heads' results are read as if they were already side by side, without moving the head axis
  back: row l of the output holds head l // (L / H), time steps H * (l mod L / H) and the H - 1 that follow.
- *Padding* attends and is attended to, as any other row.

What differs is the choice of queries. The original scores each query against a few keys drawn at random on
every call, so its embeddings change from call to call; `deterministic` scores against all keys. `sampled` is
the original, kept to measure the difference against.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from trainer.astrom3.config import queries_that_attend

__all__ = ["ProbSparseAttention", "Sampling"]

Sampling = Literal["deterministic", "sampled"]

SCORED_AT_ONCE = 8
"""Objects whose L x L scores are held at once; more leave the cache of a CPU core and double the time."""


class ProbSparseAttention(nn.Module):
    """Self-attention of (B, L, D) rows with the parameters and the layout of the original.

    Parameters
    ----------
    factor
        Multiple of ceil(ln L) queries that attend.
    sampling
        How the queries are chosen; see the module.
    """

    def __init__(
        self, d_model: int, n_heads: int, *, factor: int, seq_len: int, sampling: Sampling = "deterministic"
    ) -> None:
        super().__init__()
        if seq_len % n_heads or d_model % n_heads:
            raise ValueError(f"{n_heads} heads divide neither {seq_len} rows nor {d_model} features evenly")
        self.n_heads, self.seq_len, self.sampling = n_heads, seq_len, sampling
        self.d_head = d_model // n_heads
        self.chosen = queries_that_attend(seq_len, factor)
        self.query_projection = nn.Linear(d_model, d_model)
        self.key_projection = nn.Linear(d_model, d_model)
        self.value_projection = nn.Linear(d_model, d_model)
        self.out_projection = nn.Linear(d_model, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention's contribution (B, L, D) to rows (B, L, D)."""
        return self._sampled(x) if self.sampling == "sampled" else self._deterministic(x)

    def _deterministic(self, x: torch.Tensor) -> torch.Tensor:
        """Attend, spending work only where a query was chosen.

        The values are linear in the rows and the weights of a query sum to one, so rows are averaged first
        and projected afterwards; and rows of the output that hold nothing but means are the same for a head.
        """
        n_rows, d_model = self.seq_len, self.n_heads * self.d_head
        batch = x.shape[0]
        query = self._choose(x.detach())  # (B, H, U)
        chosen = query.transpose(0, 1)  # (H, B, U)
        start = torch.arange(batch, device=x.device)[:, None] * n_rows
        rows = x.reshape(-1, d_model).index_select(0, (chosen + start).reshape(-1))
        rows = rows.view(self.n_heads, -1, d_model)  # (H, B*U, D)
        weights = self._attend(x, rows)  # (B, H*U, L)
        average = self._by_head(torch.bmm(weights, x))  # (H, B*U, D)
        per_head = (self.n_heads, self.d_head, d_model)
        values = torch.bmm(average, self.value_projection.weight.view(per_head).transpose(1, 2))
        values = values + self.value_projection.bias.view(self.n_heads, 1, self.d_head)
        mean = self.value_projection(x.mean(dim=1)).view(batch, self.n_heads, self.d_head)
        extra = values.view(self.n_heads, batch, self.chosen, self.d_head) - mean.transpose(0, 1).unsqueeze(2)

        # From here on in the output's layout: position h L + t is row (h L + t) // H, slot (h L + t) mod H.
        ordinary = mean.repeat(1, 1, self.n_heads)  # (B, H, D): a row whose slots are all the head's mean
        out = self.out_projection(ordinary).repeat_interleave(n_rows // self.n_heads, dim=1)
        head = torch.arange(self.n_heads, device=x.device)[None, :, None]
        position = head * n_rows + query  # (B, H, U)
        slots = torch.arange(self.n_heads, device=x.device)
        here = (position.remainder(self.n_heads).unsqueeze(-1) == slots).to(x.dtype)  # (B, H, U, H)
        placed = here.unsqueeze(-1) * extra.transpose(0, 1).unsqueeze(-2)  # (B, H, U, H, E)
        extra_out = placed.reshape(batch, -1, d_model) @ self.out_projection.weight.T
        row = position.div(self.n_heads, rounding_mode="floor").reshape(batch, -1, 1)
        scattered: torch.Tensor = out.scatter_add(1, row.expand(-1, -1, d_model), extra_out)
        return scattered

    def _attend(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the softmax weights (B, H*U, L) of the chosen rows (H, B*U, D) over all rows."""
        d_model = x.shape[-1]
        per_head = (self.n_heads, self.d_head, d_model)
        query = torch.bmm(rows, self.query_projection.weight.view(per_head).transpose(1, 2))
        query = query + self.query_projection.bias.view(self.n_heads, 1, self.d_head)
        towards = self._by_batch(torch.bmm(query, self.key_projection.weight.view(per_head)))
        constant = torch.bmm(query, self.key_projection.bias.view(self.n_heads, self.d_head, 1))
        scores = torch.bmm(towards, x.transpose(1, 2)) + self._by_batch(constant)
        return torch.softmax(scores / math.sqrt(self.d_head), dim=-1)

    def _choose(self, x: torch.Tensor) -> torch.Tensor:
        """Return the time steps (B, H, U) of the queries that stand out most from their mean score."""
        if torch.compiler.is_compiling():
            return self._choose_of(x)
        with torch.no_grad():
            return torch.cat([self._choose_of(part) for part in torch.split(x, SCORED_AT_ONCE)])

    def _choose_of(self, x: torch.Tensor) -> torch.Tensor:
        query = self._heads(self.query_projection(x))
        key = self._heads(self.key_projection(x))
        largest = (query @ key.transpose(2, 3)).amax(dim=-1)
        mean = (query @ key.mean(dim=2).unsqueeze(-1)).squeeze(-1)
        return (largest - mean).topk(self.chosen, dim=-1, sorted=False).indices

    def _sampled(self, x: torch.Tensor) -> torch.Tensor:
        """Attend as the original does, with keys drawn anew and shared by objects and heads."""
        batch, n_rows, d_model = x.shape
        query = self._heads(self.query_projection(x))
        key = self._heads(self.key_projection(x))
        value = self._heads(self.value_projection(x))
        drawn = torch.randint(n_rows, (n_rows, self.chosen)).to(x.device)
        scores = (query.unsqueeze(3) @ key[:, :, drawn].transpose(3, 4)).squeeze(3)  # (B, H, L, U)
        standing_out = scores.amax(dim=-1) - scores.sum(dim=-1) / n_rows
        chosen = standing_out.topk(self.chosen, dim=-1, sorted=False).indices  # (B, H, U)
        index = chosen.unsqueeze(-1).expand(-1, -1, -1, self.d_head)
        attention = query.gather(2, index) @ key.transpose(2, 3) / math.sqrt(self.d_head)
        context = value.mean(dim=2, keepdim=True).expand_as(value)
        context = context.scatter(2, index, torch.softmax(attention, dim=-1) @ value)
        out: torch.Tensor = self.out_projection(context.reshape(batch, n_rows, d_model))
        return out

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, L, D) as (B, H, L, E)."""
        return x.view(-1, self.seq_len, self.n_heads, self.d_head).transpose(1, 2)

    def _by_head(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, H*U, F) as (H, B*U, F)."""
        split = x.view(-1, self.n_heads, self.chosen, x.shape[-1]).transpose(0, 1)
        return split.reshape(self.n_heads, -1, x.shape[-1])

    def _by_batch(self, x: torch.Tensor) -> torch.Tensor:
        """Return (H, B*U, F) as (B, H*U, F)."""
        split = x.view(self.n_heads, -1, self.chosen, x.shape[-1]).transpose(0, 1)
        return split.reshape(-1, self.n_heads * self.chosen, x.shape[-1])
