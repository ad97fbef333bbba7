"""Measures of a start and interventions on it: identities, and known answers on small networks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from headstart.metrics import grid_players, walsh
from headstart.metrics.representations.inversion import InversionOptimizer
from headstart.networks.build import build
from headstart.networks.network import Network, block_names
from headstart.params.models import ConvNet
from headstart.studies.joined import interventions, measures
from headstart.studies.joined.interventions import RANDOM, REMOVED, SHAM
from headstart.studies.joined.params import Intervention
from headstart.tasks.batches import Normalization

PLAYERS = grid_players(8, 8, 2, 2, [(0, 0), (0, 1), (1, 0), (1, 1)])
OPTIONS = Intervention(source_epoch=1, images=8, steps=150, batch_size=64, learning_rate=1e-2)
MODEL = ConvNet(kind="convnet", width=2)


def made(seed: int) -> Network:
    """Return a small network whose batch statistics are those of its images."""
    network = build(MODEL, 1, 8, classes=3, seed=seed)
    with torch.no_grad():
        network.train()
        for _ in range(60):
            network(images(32, 0))
    return network.eval()


def images(number: int, seed: int) -> Tensor:
    return torch.randn(number, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def labels(number: int) -> Tensor:
    return torch.arange(number) % 3


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Batches:
    """The same images for updates and for evaluation."""

    def __init__(self, classes: Tensor | None = None) -> None:
        self.classes = labels(32) if classes is None else classes

    def __iter__(self):
        yield images(32, 0), self.classes

    def epoch(self, _: int):
        return iter(self)


def scored(network: Network, number: int = 8) -> Tensor:
    return measures.scores(network, images(number, 1), labels(number), PLAYERS)


def test_a_network_preserves_all_of_itself_and_chance_is_less() -> None:
    own = measures.interactions(scored(made(0)))
    found = measures.kept_knowledge(own, own, own, 4, drawn(0))
    assert found["preserved"] == pytest.approx(1.0)
    assert found["preserved_ceiling"] == pytest.approx(1.0)
    assert 0 < found["preserved_chance"] < 1
    assert found["preserved_excess"] == pytest.approx(1 - found["preserved_chance"])


def test_what_is_preserved_does_not_depend_on_the_scale_of_scores() -> None:
    one, other = scored(made(0)), scored(made(1))
    plain, larger = (
        measures.kept_knowledge(
            *(measures.interactions(each) for each in (one, factor * other, other)), 4, drawn(0)
        )
        for factor in (1, 7)
    )
    assert plain == pytest.approx(larger)
    assert 0 < plain["preserved"] < 1


def test_a_diverged_network_has_no_knowledge_and_a_reason() -> None:
    network = made(0)
    with torch.no_grad():
        network.head.weight.fill_(torch.nan)
    own = measures.interactions(scored(made(0)))
    lost = measures.interactions(scored(network))
    found = measures.kept_knowledge(own, lost, own, 2, drawn(0))
    rows = {name: reason for name, _, reason in measures.tidy(found)}
    assert rows["preserved"]


def test_a_network_has_all_invariances_of_itself() -> None:
    scale = Normalization((0.5,), (0.25,))
    start, other = (measures.features_of(made(seed), scale) for seed in (0, 1))
    pixels = torch.rand(12, 1, 8, 8, generator=drawn(1))
    optimizer = InversionOptimizer(30, 0.1, "adam", decay=True)
    found = measures.kept_invariances(start, start, other, pixels, optimizer, drawn(0))
    assert found["forgotten"] == pytest.approx(0.0, abs=1e-9)
    assert found["learnt"] == pytest.approx(0.0, abs=1e-9)
    kept = found["invariance_self"] - found["invariance_chance"]
    assert found["invariance_excess"] == pytest.approx(kept)
    assert found["invariance_self"] > 0.9


def test_the_line_between_two_networks_ends_at_both_and_one_network_has_no_barrier() -> None:
    one, other = made(0), made(1)
    for at, expected in ((0.0, one), (1.0, other)):
        between = measures.interpolated(one, other, at)
        for name, value in between.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, expected.state_dict()[name])
    assert measures.barrier(one, copy.deepcopy(one), Batches(), Batches()) == 0.0


def test_units_that_are_permuted_make_a_barrier_between_two_equal_functions() -> None:
    one = made(0)
    with torch.no_grad():  # no class is preferred
        one.head.bias.copy_(-one(images(32, 0)).mean(0))
    other = copy.deepcopy(one)
    order = torch.tensor([*range(1, 8), 0])
    block = other.backbone.get_submodule(block_names(other.backbone)[-1])
    with torch.no_grad():
        block.convolution.weight.copy_(block.convolution.weight[order])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(block.norm, name).copy_(getattr(block.norm, name)[order])
        other.head.weight.copy_(other.head.weight[:, order])
    torch.testing.assert_close(other(images(8, 3)), one(images(8, 3)))
    # Labels are what both say, so that there is accuracy to lose.
    told = Batches(one(images(32, 0)).argmax(1))
    assert measures.refreshed_accuracy(other, told, told) > 0.9
    assert measures.barrier(one, other, told, told) > 5


def test_scores_without_the_preserved_lack_them_and_no_others() -> None:
    start, tuned = scored(made(0)), scored(made(1))
    wanted = interventions.scores_without(start, tuned, drawn(0))
    own = walsh(start)
    torch.testing.assert_close(wanted[SHAM], start)
    gone = own - walsh(wanted[REMOVED])
    assert (gone.abs() <= own.abs() + 1e-9).all()
    assert (gone * own >= -1e-12).all()
    # Of every order as much is gone at random.
    again = own - walsh(wanted[RANDOM])
    for order in (1, 2, 3):
        of_order = [i for i in range(16) if i.bit_count() == order]
        strength = gone[:, of_order].abs().sum(-1)
        torch.testing.assert_close(again[:, of_order].abs().sum(-1), strength)
    preserved = interventions.preserved_part(start, tuned)
    torch.testing.assert_close(gone, preserved)
    shares = {name: interventions.taken(preserved, start, each) for name, each in wanted.items()}
    assert shares[REMOVED] == pytest.approx(1.0)
    assert shares[SHAM] == 0.0
    assert 0.0 < shares[RANDOM] < 1.0
    # Of all that the start knows, both took as much.
    own = walsh(start)
    own[:, 0] = 0.0
    both = [interventions.taken(own, start, wanted[name]) for name in (REMOVED, RANDOM)]
    assert both[0] == pytest.approx(both[1])


def test_targeted_fine_tuning_takes_the_preserved_interactions_away() -> None:
    start, tuned = made(0), made(1)
    wanted = interventions.scores_without(scored(start), scored(tuned), drawn(0))
    shown = images(8, 1), labels(8), PLAYERS
    changed, fitted = interventions.retrained(start, *shown, wanted[REMOVED], OPTIONS, drawn(0))
    assert fitted > 0.5
    before, after = (
        float((scored(each) - wanted[REMOVED]).square().mean()) for each in (start, changed)
    )
    assert after < 0.5 * before
    assert all(parameter.grad is None for parameter in changed.parameters())
    untouched, whole = interventions.retrained(start, *shown, wanted[SHAM], OPTIONS, drawn(0))
    torch.testing.assert_close(scored(untouched), scored(start), atol=1e-3, rtol=1e-3)
    assert whole > 0.999


def test_rescaled_weights_are_as_long_as_at_first_and_the_function_is_the_same() -> None:
    start, first = made(0), made(1)
    for parameter in first.parameters():
        parameter.data.mul_(3.0)
    result = interventions.rescaled(start, first)
    lengths = [
        (float(mine.detach().norm()), float(theirs.detach().norm()))
        for mine, theirs in zip(
            result.backbone.parameters(), first.backbone.parameters(), strict=True
        )
        if mine.ndim > 1
    ]
    for mine, theirs in lengths:
        assert mine == pytest.approx(theirs, rel=1e-5)
    with torch.no_grad():
        both = [copy.deepcopy(each).train() for each in (start, result)]
        before, after = (each(images(32, 0)) for each in both)
    torch.testing.assert_close(before, after, atol=2e-3, rtol=2e-3)


def test_a_fresh_block_replaces_the_last_one_alone() -> None:
    start, fresh = made(0), made(1)
    found = interventions.repairs(start, start, fresh.backbone, OPTIONS)
    last = block_names(start.backbone)[-1]
    for name, value in found["fresh_block"].backbone.state_dict().items():
        source = fresh if name.startswith(last) else start
        assert torch.equal(value, source.backbone.state_dict()[name]), name
    assert set(found) == {"shrink_perturb", "fresh_block", "rescaled"}


def test_measures_of_plasticity_are_those_of_the_shared_metrics() -> None:
    found = measures.plasticity(made(0), images(16, 2), labels(16))
    assert set(found) == {"dormant", "effective_rank", "squared_weight_norm", "gradient_norm"}
    assert 0 <= found["dormant"] <= 1
    assert 1 <= found["effective_rank"] <= 8
    assert found["gradient_norm"] > 0
