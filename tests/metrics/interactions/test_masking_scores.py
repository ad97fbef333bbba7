"""Log-odds, and scores of all masked inputs."""

import pytest
import torch
from over_images import independent_noise
from torch import Tensor, nn

from headstart.metrics.interactions.masking import grid_players, pixel_inputs
from headstart.metrics.interactions.salience import noise_floor
from headstart.metrics.interactions.scores import Network, log_odds, subset_scores
from headstart.metrics.interactions.transform import membership, mobius, orders

IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])
CELLS = ((1, 1), (1, 2), (2, 1), (2, 2), (0, 1), (0, 2))
PLAYERS = grid_players(8, 8, 4, 4, CELLS)
BASELINE = torch.zeros(2, 1, 1)


def masked_scores(
    network: Network,
    images: Tensor = IMAGES,
    labels: Tensor = LABELS,
    chunk_size: int = 256,
    classes: int | None = None,
) -> Tensor:
    """Return v(x_T) of all masks, hidden pixels zero."""
    inputs = pixel_inputs(images, PLAYERS, BASELINE)
    return subset_scores(network, inputs, labels, len(CELLS), chunk_size, classes)


def test_more_than_sixteen_players_need_masks_and_masks_are_scored_as_the_table_is() -> None:
    network, shown = small_network(), membership(len(CELLS)).T[5:23]
    inputs = pixel_inputs(IMAGES, PLAYERS, BASELINE)
    some = subset_scores(network, inputs, LABELS, len(CELLS), chunk_size=7, masks=shown)
    torch.testing.assert_close(some, masked_scores(network)[:, 5:23])
    many = grid_players(8, 8, 8, 8, [(row, column) for row in range(8) for column in range(8)])
    inputs = pixel_inputs(IMAGES, many, BASELINE)
    with pytest.raises(ValueError, match="at most 16"):
        subset_scores(network, inputs, LABELS, 64)
    halves = torch.arange(64).expand(2, 64) < torch.tensor([[0], [64]])
    by_hand = log_odds(
        network.eval()(torch.cat([torch.zeros_like(IMAGES), IMAGES])), LABELS.repeat(2)
    )
    scored = subset_scores(network, inputs, LABELS, 64, masks=halves)
    torch.testing.assert_close(scored, by_hand.unflatten(0, (2, -1)).T)


def small_network(classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(288, classes),
    )


def test_log_odds_are_those_of_the_softmax() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    chance = logits.softmax(-1)[torch.arange(5), labels]
    torch.testing.assert_close(log_odds(logits, labels), (chance / (1 - chance)).log())


def test_log_odds_of_large_logits_are_finite_and_exact() -> None:
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]])
    assert log_odds(logits, torch.tensor([0, 0])).tolist() == [200.0, -200.0]
    many = torch.tensor([[100.0, -100.0, -100.0]])
    assert log_odds(many, torch.tensor([0])).item() == pytest.approx(200 - 0.693147, abs=1e-4)


def test_log_odds_of_two_classes_are_the_difference_of_logits() -> None:
    logits = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 2
    own, other = logits[torch.arange(50), labels], logits[torch.arange(50), 1 - labels]
    assert torch.equal(log_odds(logits, labels), own - other)


def test_log_probabilities_are_as_good_as_logits() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(log_odds(logits.log_softmax(-1), labels), log_odds(logits, labels))


def test_probabilities_and_unusable_logits_are_refused() -> None:
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="look like probabilities"):
        log_odds(torch.randn(2, 3).softmax(-1), labels)
    with pytest.raises(ValueError, match="NaN or infinite"):
        log_odds(torch.full((2, 3), torch.nan), labels)
    with pytest.raises(ValueError, match="at least two classes"):
        log_odds(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels run from 0 to 5, but the network has 3 outputs"):
        log_odds(torch.zeros(2, 3), torch.tensor([0, 5]))


def test_logits_that_sum_to_one_by_accident_are_logits_with_any_chunk_size() -> None:
    def network(inputs: Tensor) -> Tensor:
        first = inputs.flatten(1).mean(
            1
        )  # of no hidden image, .3 and .7; others are no probabilities
        return torch.stack([first + 0.3, 0.7 + 0 * first], dim=1)

    images = torch.ones(3, 2, 8, 8)
    scores = masked_scores(network, images, torch.tensor([0, 1, 1]), chunk_size=1)
    assert scores.shape == (3, 64)
    softened = nn.Sequential(small_network(2), nn.Softmax(-1))
    with pytest.raises(ValueError, match="look like probabilities"):
        masked_scores(softened, labels=torch.tensor([0, 1, 1]), chunk_size=1)


def test_scores_of_a_single_mask_are_those_of_a_single_forward() -> None:
    network = small_network().eval()
    scores = masked_scores(network)
    assert scores.shape == (3, 64)
    assert scores.dtype == torch.float32
    complete = log_odds(network(IMAGES), LABELS)
    torch.testing.assert_close(scores[:, -1], complete)


def test_the_network_is_left_as_it_was() -> None:
    network = small_network().train()
    network[1].eval()  # a frozen layer inside a network in training
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = masked_scores(network)
    assert [module.training for module in network] == [True, False, True, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    again = masked_scores(network)
    assert torch.equal(scores, again)  # neither autocast nor dropout had a part in it


def test_precision_switches_are_off_inside_and_restored_afterwards() -> None:
    seen = []

    def network(inputs: Tensor) -> Tensor:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return inputs.flatten(1)[:, :3]

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("medium")
    try:
        masked_scores(network)
        assert set(seen) == {("highest", False)}
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32 == before[1]
    finally:
        torch.set_float32_matmul_precision(before[0])


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 150, 1000])
def test_the_chunk_size_changes_scores_by_rounding_alone(chunk_size: int) -> None:
    network = small_network()
    reference = masked_scores(network, chunk_size=16)
    scores = masked_scores(network, chunk_size=chunk_size)
    assert (noise_floor(scores, reference) <= independent_noise(2e-6, 6)).all()


def test_an_additive_network_has_orders_zero_and_one_only() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 2)).double()
    images = IMAGES.double()
    labels = torch.tensor([0, 1, 1])
    dividends = mobius(masked_scores(network, images, labels))
    assert dividends[:, orders(6) > 1].abs().max() < 1e-12
    weights = (network[1].weight[1] - network[1].weight[0]).view(2, 8, 8)
    effects = ((weights * images)[:, :, None] * PLAYERS).sum((1, 3, 4))
    signs = torch.tensor([[-1.0], [1.0], [1.0]]).double()
    torch.testing.assert_close(dividends[:, [1, 2, 4, 8, 16, 32]], signs * effects.detach())


def test_a_player_equal_to_its_baseline_is_a_dummy() -> None:
    images = IMAGES.clone()
    images[:, :, PLAYERS[2]] = 0
    dividends = mobius(masked_scores(small_network(), images))
    # the same image in another place of a batch differs by rounding
    assert dividends[:, membership(6)[2]].abs().max() < 1e-4


def test_players_need_not_be_pixels() -> None:
    words = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    hidden_word = 0

    def masked_sentences(samples: Tensor, subsets: Tensor) -> Tensor:
        shown = membership(3).T[subsets]  # the last word is no player
        shown = torch.cat([shown, torch.ones(len(shown), 1, dtype=torch.bool)], dim=1)
        return torch.where(shown, words[samples, None], hidden_word).flatten(0, 1)

    def network(inputs: Tensor) -> Tensor:
        total = inputs.float().sum(1)
        return torch.stack([-total, total], dim=1)

    scores = subset_scores(network, masked_sentences, torch.tensor([1, 1]), players=3)
    assert mobius(scores)[1].tolist() == [12, 10, 18, 0, 4, 0, 0, 0]


def test_two_networks_with_different_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="the network has 4 classes, the comparison 3"):
        masked_scores(small_network(4), classes=3)


def test_half_precision_weights_bad_chunks_and_other_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        masked_scores(small_network().bfloat16())
    with pytest.raises(ValueError, match="chunk size is 0"):
        masked_scores(small_network(), chunk_size=0)
    with pytest.raises(ValueError, match="must return logits"):
        masked_scores(lambda inputs: inputs)


def test_no_image_gives_no_row() -> None:
    empty = masked_scores(small_network(), IMAGES[:0], LABELS[:0])
    assert empty.shape == (0, 64)
