# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the encoders, the fusion and the losses."""

import math

import numpy as np
import pytest
import torch

from tests.trainer.synthetic import tiny_settings
from trainer.losses import contrastive_loss, total_loss
from trainer.model import DISCOVERIES, AlertModel, Head, fuse
from trainer.outliers import UNASKED, Oddity

SPECS = {
    "photometry": {"max_epochs": 64},
    "metadata": {"columns": [{"name": "gal_lat_deg", "transform": "identity", "mean": 0.0, "std": 1.0}]},
}
WIDTH = {"photometry": 20, "metadata": 2}


@pytest.fixture
def model() -> AlertModel:
    torch.manual_seed(1)
    return AlertModel(SPECS, 9, tiny_settings()).eval()


def random_tokens(name: str, batch: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, WIDTH[name], generator=generator)


@pytest.mark.parametrize("length", [1, 2, 7, 64, 300])
def test_embeddings_are_unit_vectors_at_any_length(model: AlertModel, length: int) -> None:
    mask = torch.ones(3, length, dtype=torch.bool)
    embedding = model.encode("photometry", random_tokens("photometry", 3, length), mask)
    assert embedding.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)  # float32


@pytest.mark.parametrize("padded", [9, 40, 256])
def test_padding_does_not_change_an_embedding(model: AlertModel, padded: int) -> None:
    tokens = random_tokens("photometry", 4, 8)
    short = model.encode("photometry", tokens, torch.ones(4, 8, dtype=torch.bool))
    longer = torch.full((4, padded, WIDTH["photometry"]), 1e4)
    longer[:, :8] = tokens
    mask = torch.zeros(4, padded, dtype=torch.bool)
    mask[:, :8] = True
    # Padding has weight exactly 0; sums of float32 in another order differ in the last bits.
    torch.testing.assert_close(model.encode("photometry", longer, mask), short, atol=1e-5, rtol=0)


def test_the_order_of_the_epochs_does_not_matter(model: AlertModel) -> None:
    tokens = random_tokens("photometry", 4, 20)
    mask = torch.ones(4, 20, dtype=torch.bool)
    shuffled = tokens[:, torch.randperm(20, generator=torch.Generator().manual_seed(3))]
    expected = model.encode("photometry", tokens, mask)
    # Sums of float32 in another order.
    torch.testing.assert_close(model.encode("photometry", shuffled, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["photometry", "metadata"])
def test_a_missing_modality_is_zero_and_finite(model: AlertModel, name: str) -> None:
    embedding = model.encode(name, random_tokens(name, 2, 1), torch.zeros(2, 1, dtype=torch.bool))
    assert torch.equal(embedding, torch.zeros_like(embedding))


def test_gradients_of_extreme_tokens_and_missing_rows_are_finite(model: AlertModel) -> None:
    tokens = random_tokens("photometry", 4, 5) * 50
    mask = torch.tensor([[True] * 5, [True] + [False] * 4, [False] * 5, [True] * 5])
    model.encode("photometry", tokens, mask).sum().backward()
    gradients = [p.grad for p in model.encoders["photometry"].parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


def test_fusion_is_the_mean_of_what_is_there() -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(3, 2, 8), dim=2)
    present = torch.tensor([[True, True], [True, False], [False, False]])
    fused = fuse(embeddings, present)
    both = embeddings[0].mean(dim=0)
    torch.testing.assert_close(fused[0], both / both.norm())
    torch.testing.assert_close(fused[1], embeddings[1, 0])
    assert torch.equal(fused[2], torch.zeros(8))


def test_the_contrastive_loss_of_uniform_cosines_is_the_log_of_the_batch() -> None:
    same = torch.nn.functional.normalize(torch.ones(32, 2, 8), dim=2)
    loss = contrastive_loss(same, torch.ones(32, 2, dtype=torch.bool), torch.tensor(10.0))
    assert loss.item() == pytest.approx(math.log(32), rel=1e-5)  # float32


def test_the_contrastive_loss_counts_only_alerts_with_both_modalities() -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(10, 2, 8), dim=2)
    present = torch.ones(10, 2, dtype=torch.bool)
    present[6:, 1] = False
    loss = contrastive_loss(embeddings, present, torch.tensor(5.0))
    assert loss == contrastive_loss(embeddings[:6], present[:6], torch.tensor(5.0))
    none = contrastive_loss(embeddings, torch.zeros(10, 2, dtype=torch.bool), torch.tensor(5.0))
    assert none == 0


def test_surprise_is_minus_the_log_of_what_would_not_surprise(model: AlertModel) -> None:
    fused = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    with torch.no_grad():
        surprise = model.head.surprise(fused).double()
        odd = torch.softmax(model.head.oddity(fused).double(), dim=1)
        probability = torch.softmax((model.head(fused) + model.head.log_prior).double(), dim=1)
    for axis, oddity in enumerate(DISCOVERIES):
        torch.testing.assert_close(surprise[:, axis], -torch.log1p(-odd[:, oddity]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(surprise[:, -1], -probability.amax(dim=1).log(), atol=1e-5, rtol=1e-4)
    assert surprise.shape == (200, len(DISCOVERIES) + 1)


def test_a_certain_oddity_still_has_an_order(model: AlertModel) -> None:
    """Where float32 rounds the probability to one, the coordinate goes on growing."""
    last = model.head.oddity[-1]
    with torch.no_grad():
        last.weight.zero_()
        surprises = []
        for logit in (20.0, 30.0, 40.0):
            last.bias.copy_(torch.tensor([0.0, 0.0, 0.0, logit, 0.0]))
            surprises.append(model.head.surprise(torch.ones(1, 16))[0, 2].item())
            # A fault of the instrument that is as likely takes the surprise away, but for a factor of two.
            last.bias[-1] = logit
            assert model.head.surprise(torch.ones(1, 16))[0, 2].item() < 1.0
    assert np.diff(surprises) == pytest.approx([10.0, 10.0], abs=1e-3)


def test_without_oddities_the_forests_see_the_embedding() -> None:
    head = Head(3, tiny_settings().model)
    fused = torch.randn(4, 16)
    assert torch.equal(head.surprise(fused), fused)


@pytest.mark.parametrize("n_modalities", [2, 3, 4])
def test_the_contrastive_loss_is_symmetric_in_any_number_of_modalities(n_modalities: int) -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(12, n_modalities, 8), dim=2)
    present = torch.rand(12, n_modalities) < 0.8
    loss = contrastive_loss(embeddings, present, torch.tensor(8.0))
    turned = contrastive_loss(embeddings.flip(1), present.flip(1), torch.tensor(8.0))
    assert loss.item() == pytest.approx(turned.item(), rel=1e-5)  # float32, another order of the pairs


def test_the_temperature_learns_from_the_first_step(model: AlertModel) -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(16, 2, 16), dim=2)
    present = torch.ones(16, 2, dtype=torch.bool)
    label = torch.randint(0, 9, (16,))
    oddity = torch.randint(0, len(Oddity), (16,))
    loss, _ = total_loss(model, embeddings, present, label, oddity, tiny_settings().training)
    loss.backward()
    assert model.logit_scale.grad is not None
    assert abs(model.logit_scale.grad.item()) > 1e-4


def test_what_is_not_asked_for_teaches_nothing_about_oddities(model: AlertModel) -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(16, 2, 16), dim=2)
    present = torch.ones(16, 2, dtype=torch.bool)
    label, oddity = torch.randint(0, 9, (16,)), torch.randint(0, len(Oddity), (16,))
    oddity[8:] = UNASKED
    settings = tiny_settings(training={"modality_dropout": 0.0, "clip_weight": 0.0}).training
    model.eval()

    def of_oddities(rows: slice, asked: torch.Tensor) -> float:
        _, parts = total_loss(model, embeddings[rows], present[rows], label[rows], asked[rows], settings)
        return parts["oddity"]

    assert of_oddities(slice(16), oddity) == pytest.approx(of_oddities(slice(8), oddity), rel=1e-5)
    assert of_oddities(slice(8, 16), oddity) == 0.0


def test_a_row_does_not_depend_on_the_others(model: AlertModel) -> None:
    tokens = random_tokens("photometry", 6, 12)
    mask = torch.from_numpy(np.arange(12) < np.array([[1], [3], [5], [7], [9], [12]]))
    together = model.encode("photometry", tokens, mask)
    for row in range(6):
        alone = model.encode("photometry", tokens[row : row + 1], mask[row : row + 1])
        # Another batch size takes other kernels: the last bits of float32.
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)
