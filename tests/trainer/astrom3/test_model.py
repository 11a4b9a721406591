# SPDX-License-Identifier: BSD-3-Clause
"""The architecture: sizes and keys as published, the layout that the weights need, and determinism."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from trainer.astrom3.attention import ProbSparseAttention
from trainer.astrom3.config import AstroM3Config, Config, MetadataConfig, PhotometryConfig, SpectraConfig
from trainer.astrom3.dropout import CheapDropout
from trainer.astrom3.informer import Informer
from trainer.astrom3.model import AstroM3, Inputs, new_model
from trainer.astrom3.objective import contrast

ROUNDING = 2e-5
"""Float32 sums of some hundred terms, taken in another order, through eight layers."""

N_HEADS, N_ROWS, WIDTH = 4, 200, 128


def attention(sampling: str = "deterministic") -> ProbSparseAttention:
    return ProbSparseAttention(WIDTH, N_HEADS, factor=1, seq_len=N_ROWS, sampling=sampling)


def literal(layer: ProbSparseAttention, x: torch.Tensor) -> torch.Tensor:
    """The same function written down step by step, with all matrices in full."""
    shape = (len(x), N_ROWS, N_HEADS, WIDTH // N_HEADS)
    query, key, value = (
        getattr(layer, f"{name}_projection")(x).view(shape).transpose(1, 2)
        for name in ("query", "key", "value")
    )
    scores = query @ key.transpose(2, 3)
    chosen = (scores.amax(3) - scores.mean(3)).topk(6).indices
    context = value.mean(2, keepdim=True).expand_as(value).clone()
    for b in range(len(x)):
        for h in range(N_HEADS):
            rows = scores[b, h, chosen[b, h]] / math.sqrt(WIDTH // N_HEADS)
            context[b, h, chosen[b, h]] = torch.softmax(rows, dim=-1) @ value[b, h]
    return layer.out_projection(context.reshape(len(x), N_ROWS, WIDTH))


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (AstroM3Config(), 15_869_827),
        (AstroM3Config(classification=True), 15_874_957),
        (AstroM3Config(classification=True, fusion="concat"), 15_885_197),
        (PhotometryConfig(classification=True), 1_845_898),
        (SpectraConfig(classification=True), 34_122),
        (MetadataConfig(classification=True), 285_706),
    ],
)
def test_the_numbers_of_parameters_are_the_published_ones(config: Config, parameters: int) -> None:
    assert sum(each.numel() for each in new_model(config).parameters()) == parameters


def test_the_keys_and_shapes_are_the_published_ones() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in AstroM3(AstroM3Config()).state_dict().items()}
    expected = {
        "photometry_encoder.enc_embedding.value_embedding.tokenConv.weight": (128, 9, 3),
        "photometry_encoder.enc_embedding.position_embedding.pe": (1, 5000, 128),
        "photometry_encoder.encoder.norm.weight": (128,),
        "photometry_encoder.encoder.norm.bias": (128,),
        "photometry_proj.weight": (512, 25_600),
        "photometry_proj.bias": (512,),
        "spectra_proj.weight": (512, 1184),
        "spectra_proj.bias": (512,),
        "metadata_proj.weight": (512, 512),
        "metadata_proj.bias": (512,),
        "logit_scale_ps": (),
        "logit_scale_sm": (),
        "logit_scale_mp": (),
    }
    for layer in range(8):
        prefix = f"photometry_encoder.encoder.attn_layers.{layer}"
        for name in ("query", "key", "value", "out"):
            expected[f"{prefix}.attention.{name}_projection.weight"] = (128, 128)
            expected[f"{prefix}.attention.{name}_projection.bias"] = (128,)
        for name, shape in (("conv1", (512, 128, 1)), ("conv2", (128, 512, 1))):
            expected[f"{prefix}.{name}.weight"] = shape
            expected[f"{prefix}.{name}.bias"] = shape[:1]
        for name in ("norm1", "norm2"):
            expected |= {f"{prefix}.{name}.{part}": (128,) for part in ("weight", "bias")}
    for layer, shape in ((0, (64, 3, 3)), (3, (64, 64, 3)), (6, (32, 64, 3)), (9, (32, 32, 3))):
        expected[f"spectra_encoder.layers.{layer}.weight"] = shape
        expected[f"spectra_encoder.layers.{layer}.bias"] = shape[:1]
    for layer, shape in ((0, (512, 34)), (3, (512, 512))):
        expected[f"metadata_encoder.model.{layer}.weight"] = shape
        expected[f"metadata_encoder.model.{layer}.bias"] = shape[:1]
    assert shapes == expected
    assert sum(math.prod(shape) for shape in shapes.values()) == 16_509_827


def test_attention_and_its_gradients_are_those_of_the_literal_computation() -> None:
    layer, x = attention(), torch.randn(3, N_ROWS, WIDTH, requires_grad=True)
    found, expected = layer(x), literal(layer, x)
    assert torch.allclose(found, expected, atol=ROUNDING)
    for value in (found, expected):
        (value**2).sum().backward()
        grads = [x.grad.clone(), *(each.grad.clone() for each in layer.parameters())]
        layer.zero_grad()
        x.grad = None
        if value is found:
            ours = grads
    for mine, theirs in zip(ours, grads, strict=True):
        # Gradients are sums over 600 rows, so up to 200 here: the tolerance is relative.
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-3 * theirs.abs().max().item() + 1e-6)


@pytest.mark.parametrize("sampling", ["deterministic", "sampled"])
def test_rows_see_the_head_that_the_published_layout_gives_them(sampling: str) -> None:
    layer = attention(sampling)
    with torch.no_grad():
        layer.value_projection.weight.zero_()
        layer.value_projection.bias.copy_(torch.arange(N_HEADS).repeat_interleave(WIDTH // N_HEADS).float())
        layer.out_projection.weight.copy_(torch.eye(WIDTH))
        layer.out_projection.bias.zero_()
        out = layer(torch.randn(2, N_ROWS, WIDTH))
    expected = torch.arange(N_HEADS).repeat_interleave(N_ROWS // N_HEADS).float()
    # With the heads moved back, every row would hold all four numbers. 1e-5: weights sum to one by rounding.
    assert torch.allclose(out, expected[None, :, None].expand_as(out), atol=1e-5)


def test_embeddings_do_not_change_from_call_to_call_nor_with_the_company() -> None:
    model = Informer(PhotometryConfig()).eval()
    tokens, mask = torch.randn(5, N_ROWS, 9), torch.ones(5, N_ROWS)
    with torch.no_grad():
        whole = model(tokens, mask)
        assert torch.equal(model(tokens, mask), whole)
        alone = torch.cat([model(tokens[i : i + 1], mask[i : i + 1]) for i in range(5)])
    assert torch.allclose(alone, whole, atol=ROUNDING)


@pytest.mark.parametrize(("gain", "noise_least", "noise_most"), [(1, 1e-6, 2e-4), (4, 3e-4, 2e-2)])
def test_we_are_within_the_originals_own_noise(gain: int, noise_least: float, noise_most: float) -> None:
    config = AstroM3Config()
    ours, theirs = AstroM3(config).eval(), AstroM3(config, sampling="sampled").eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        for model in (ours, theirs):
            for layer in model.photometry_encoder.encoder.attn_layers:
                layer.attention.query_projection.weight *= gain
                layer.attention.key_projection.weight *= gain
        tokens, mask = light_curves(6)
        draws = torch.stack([theirs.embed_photometry(tokens, mask) for _ in range(16)])  # (16, B, 512)
        mean = functional.normalize(draws.mean(dim=0), dim=-1)
        distance = 1 - (ours.embed_photometry(tokens, mask) * mean).sum(dim=-1)
        own = 1 - (draws * mean).sum(dim=-1)
    # Known from the original at random weights: 4e-5 as they are, 2e-3 with query and key weights times four.
    assert noise_least < own.mean() < noise_most
    # Scores against all keys choose a little differently than any draw: allow twice the worst draw's.
    assert distance.mean() < 2 * own.max()
    assert distance.mean() < 3 * own.mean()


def test_padding_conventions_differ_and_the_mask_alone_hides_no_padding() -> None:
    model = AstroM3(AstroM3Config()).eval()
    tokens, mask = light_curves(4, most=120)
    repeated = torch.where(mask[..., None] == 1, tokens, functional.pad(tokens[:, :1, 3:], (3, 0)))
    with torch.no_grad():
        one, other = model.embed_photometry(tokens, mask), model.embed_photometry(repeated, mask)
    cosine = (one * other).sum(dim=-1)
    # As in the original, padding is attended to: a cosine of 0.76 to 0.99 between the conventions.
    assert (cosine < 0.99).all()
    assert (cosine > 0.3).all()


def test_contrast_of_indifferent_embeddings_costs_six_ln_b() -> None:
    model = AstroM3(AstroM3Config()).eval()
    inputs = Inputs(
        tokens=torch.ones(5, 200, 9),
        mask=torch.ones(5, 200),
        spectra=torch.ones(5, 3, 2575),
        metadata=torch.ones(5, 34),
    )
    loss, _ = contrast(model, inputs, torch.zeros(5))
    # The same object five times: all logits equal but for rounding, which the scale of 100 enlarges.
    assert loss.item() == pytest.approx(6 * math.log(5), abs=1e-3)


def test_the_logit_scale_starts_dead_as_published() -> None:
    model = AstroM3(AstroM3Config())
    loss, _ = contrast(model, random_inputs(4), torch.zeros(4))
    loss.backward()
    assert all(scale.grad.item() == 0 for scale in model.logit_scales)


def test_cheap_dropout_has_dropouts_law() -> None:
    layer = CheapDropout(0.3).train()
    x = torch.full((400, 500), 2.0, requires_grad=True)
    dropped = layer(x)
    kept = dropped != 0
    # 200,000 draws: the share scatters by 0.001; the chance itself is rounded to 1/65536.
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.006)
    assert torch.allclose(dropped[kept], torch.tensor(2 / 0.7), rtol=1e-4)
    dropped.sum().backward()
    assert torch.equal(x.grad != 0, kept)
    assert torch.allclose(x.grad[kept], torch.tensor(1 / 0.7), rtol=1e-4)
    assert not torch.equal(layer(x), dropped)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert layer.eval()(x) is x


def light_curves(n: int, *, most: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Periodic light curves of 60 to `most` rows, padded with zeros."""
    length = torch.randint(60, most + 1, (n, 1))
    mask = (torch.arange(N_ROWS) < length).float()
    time = torch.sort(torch.rand(n, N_ROWS)).values
    flux = torch.sin(2 * math.pi * time * torch.randint(2, 30, (n, 1))) + 0.1 * torch.randn(n, N_ROWS)
    constants = torch.randn(n, 1, 6).expand(-1, N_ROWS, -1)
    rows = torch.cat([torch.stack([time, flux, torch.full_like(flux, 0.1)], dim=2), constants], dim=2)
    return rows * mask[..., None], mask


def random_inputs(n: int) -> Inputs:
    tokens, mask = light_curves(n)
    return Inputs(tokens=tokens, mask=mask, spectra=torch.randn(n, 3, 2575), metadata=torch.randn(n, 34))
