import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from headstart.metrics.representations.comparison import (
    Cells,
    Comparison,
    grids,
    measured,
    sampled,
)
from headstart.metrics.representations.half_samples import FEWEST, half_samples
from headstart.metrics.representations.inversion import (
    FAST,
    InversionOptimizer,
    invert,
    seed_images,
)
from headstart.metrics.representations.similarity import cka_grid, linear_gram, linear_grams
from headstart.metrics.representations.stir import (
    TargetGrams,
    cka_divergence,
    data_processing_violations,
    excess_compression,
    flow,
    forgetting,
    learning,
    residual_groups,
    stir_grid,
    stir_reason,
    target_grams,
)
from headstart.networks.network import every_block, number_of_blocks, truncated

FORMS = pytest.mark.parametrize("debiased", [True, False])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def rotation(size: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


class Stir(NamedTuple):
    value: float
    per_seed: Tensor
    images: int
    reason: str | None


def stir(originals: Sequence[Tensor], inverted: Sequence[Tensor], debiased: bool = True) -> Stir:
    """STIR of one target layer from its features of X and of X′, one pair per seed."""
    grams = TargetGrams(linear_grams(originals)[:, None], linear_grams(inverted)[:, None, None])
    per_seed = stir_grid(grams, debiased)[:, 0, 0]
    reason = stir_reason(grams, 0, 0, debiased)
    return Stir(per_seed.mean().item(), per_seed, grams.originals.shape[-1], reason)


class TestLinearModels:
    """m1 = A, m2 = B with orthonormal rows; A is inverted exactly by x′ = Px + (I − P)x₀."""

    inputs, images, samples = 64, 800, 6

    def stir(
        self, target: slice, reference: slice, scale: float = 1.0, shared_seed: bool = False
    ) -> Tensor:
        basis, pairs = rotation(self.inputs, 1), []
        a, b = basis[reference], basis[target]
        projection = a.T @ a
        for sample in range(self.samples):
            x = normal(self.images, self.inputs, seed=sample)
            x0 = scale * normal(1 if shared_seed else self.images, self.inputs, seed=sample + 99)
            inverted = x @ projection + x0 @ (torch.eye(self.inputs) - projection)
            torch.testing.assert_close(inverted @ a.T, x @ a.T)
            pairs.append((x @ b.T, inverted @ b.T))
        originals, found = zip(*pairs, strict=True)
        return torch.tensor([stir(originals, found, form).value for form in (True, False)])

    def test_stir_is_the_shared_fraction_of_the_target(self) -> None:
        assert self.stir(slice(0, 16), slice(8, 24))[0].item() == pytest.approx(8 / 16, abs=0.02)

    def test_stir_has_a_direction(self) -> None:
        assert self.stir(slice(0, 8), slice(0, 16))[0].item() == pytest.approx(1, abs=1e-9)
        assert self.stir(slice(0, 16), slice(0, 8))[0].item() == pytest.approx(8 / 16, abs=0.02)

    def test_models_that_share_nothing_read_zero_debiased_and_more_biased(self) -> None:
        debiased, biased = self.stir(slice(0, 16), slice(16, 32))
        assert debiased.item() == pytest.approx(0, abs=0.005)
        assert biased > debiased + 0.005

    def test_200_images_read_k_over_n_plus_k_biased_where_nothing_is_shared(self) -> None:
        """.067 in one draw of the specification; one draw scatters by .007."""
        few = type("Few", (TestLinearModels,), {"images": 200, "samples": 20})()
        debiased, biased = few.stir(slice(0, 16), slice(16, 32))
        assert debiased.item() == pytest.approx(0, abs=0.006)
        assert biased.item() == pytest.approx(16 / 216, abs=0.006)

    @pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
    def test_the_scale_of_the_seed_enters_with_its_fourth_power(self, scale: float) -> None:
        expected = 8 / math.sqrt(16 * (8 + scale**4 * 8))
        measured = self.stir(slice(0, 16), slice(8, 24), scale)[0].item()
        assert measured == pytest.approx(expected, abs=0.02)

    def test_one_seed_for_all_images_raises_stir_to_the_root_of_the_shared_fraction(self) -> None:
        shared = self.stir(slice(0, 16), slice(8, 24), shared_seed=True)[0].item()
        assert shared == pytest.approx(math.sqrt(8 / 16), abs=0.02)

    def test_one_seed_for_all_images_leaves_models_that_share_nothing_undefined(self) -> None:
        basis, x = rotation(self.inputs, 1).float(), normal(20, self.inputs).float()
        projection = basis[:16].T @ basis[:16]
        inverted = x @ projection + torch.ones(self.inputs) @ (torch.eye(self.inputs) - projection)
        b = basis[16:32].T
        result = stir([x @ b], [(inverted @ b).round(decimals=4)])
        assert math.isnan(result.value)
        assert result.reason == (
            "inverted images: constant features: every image has the same representation"
        )


class TestBuiltInInvariance:
    """The reference averages the colour channels before anything else."""

    def networks(self) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        heads = [nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh()) for _ in range(2)]
        frozen = [head.double().requires_grad_(False) for head in heads]
        return frozen[0], frozen[1]

    def test_a_target_with_the_same_front_end_shares_it_and_one_that_reads_chroma_does_not(
        self,
    ) -> None:
        first, second = self.networks()
        x, noise = torch.rand(300, 3, 4, 4, generator=seeded()).double(), normal(300, 3, 4, 4)
        inverted = x.mean(1, keepdim=True) + noise - noise.mean(1, keepdim=True)
        grey = [network(x.mean(1)) for network in (first, second)]
        for features, network in zip(grey, (first, second), strict=True):
            moved = network(inverted.mean(1))
            assert stir([features], [moved]).value == pytest.approx(1, abs=1e-12)
        chroma, moved_chroma = x[:, 0] - x[:, 1], inverted[:, 0] - inverted[:, 1]
        assert stir([chroma], [moved_chroma]).value == pytest.approx(0, abs=0.02)

    def test_it_is_found_by_gradient_descent(self) -> None:
        x = torch.rand(60, 3, 4, 4, generator=seeded()).double()
        seeds = seed_images(x, "noise", seeded(1))
        front = nn.AvgPool2d(2)
        targets = front(x).flatten(1) @ rotation(12, 3)
        found = invert(lambda z: front(z).flatten(1) @ rotation(12, 3), targets, seeds, FAST)
        assert found.pass_rate() == 1
        same = stir([front(x).square()], [front(found.images).square()]).value
        detail, moved = x - front(x).repeat_interleave(2, 2).repeat_interleave(2, 3), found.images
        moved = moved - front(moved).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert same > 0.99
        assert abs(stir([detail], [moved]).value) < 0.1


def network(depth: int = 3, seed: int = 0, width: int = 24) -> nn.Sequential:
    """Blocks that lose a little at a time; the first one flattens the image."""
    torch.manual_seed(seed)
    widths = [48, *(max(6, width - 6 * block) for block in range(depth))]
    blocks = [
        nn.Sequential(nn.Flatten(), nn.Linear(before, after), nn.Tanh())
        for before, after in zip(widths, widths[1:])  # noqa: B905, RUF007
    ]
    return nn.Sequential(*blocks).double().eval().requires_grad_(False)


def pictures(count: int = 40, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 4, 4, generator=seeded(seed), dtype=torch.float64)


def inverted_images(
    reference: nn.Module, images: Tensor, optimizer: InversionOptimizer = FAST
) -> Tensor:
    """X′ of every block of the reference for one seed."""
    seeds = seed_images(images, "noise", seeded(1))
    blocks = [truncated(reference, block) for block in range(number_of_blocks(reference))]
    return torch.stack([invert(m, m(images), seeds, optimizer).images for m in blocks])


def grams(target: nn.Module, images: Tensor, inverted: Tensor) -> TargetGrams:
    return target_grams(every_block(target), images[None], inverted[None])


@pytest.fixture(scope="module")
def trained() -> dict[str, TargetGrams]:
    """Two networks, each evaluated on the inversions of each: "ft|pt" is ft on those of pt."""
    pt, ft, images = network(), network(seed=1), pictures()
    inverted = {"pt": inverted_images(pt, images), "ft": inverted_images(ft, images)}
    return {
        f"{name}|{reference}": grams(target, images, inverted[reference])
        for name, target in (("pt", pt), ("ft", ft))
        for reference in ("pt", "ft")
    }


@pytest.fixture(scope="module")
def found(trained: dict[str, TargetGrams]) -> dict[str, Tensor]:
    return {name: stir_grid(target) for name, target in trained.items()}


def test_a_layer_after_the_inverted_one_sees_nothing_new(found: dict[str, Tensor]) -> None:
    assert not data_processing_violations(found["pt|pt"], 0.01).any()
    assert found["pt|pt"][0].tril(-1).sum() < 0.97 * 3


def test_an_unfinished_inversion_is_flagged_by_the_data_processing_check() -> None:
    pt, images = network(), pictures()
    shortfalls = []
    for steps in (0, 10, 100):
        x = inverted_images(pt, images, InversionOptimizer(steps, 0.1, "adam", decay=True))
        grid = stir_grid(grams(pt, images, x))
        flags = data_processing_violations(grid, 0.05)
        assert flags[0].any() == (steps < 100)
        assert not flags[0].tril(-1).any()
        shortfalls.append(float((1 - grid[0]).triu().max()))
    assert shortfalls == sorted(shortfalls, reverse=True)


def test_a_bijective_reference_shares_its_invariances_with_every_target() -> None:
    images, turn = pictures(), rotation(48, 4)
    represent = lambda z: z.flatten(1) @ turn  # noqa: E731
    found = invert(represent, represent(images), seed_images(images, "noise", seeded()), FAST)
    for seed in range(3):
        grid = stir_grid(grams(network(seed=seed), images, found.images[None]))
        assert grid.min() > 0.999


@FORMS
def test_without_fine_tuning_nothing_is_learned_forgotten_or_moved(
    trained: dict[str, TargetGrams], debiased: bool
) -> None:
    same = trained["pt|pt"]
    grid = stir_grid(same, debiased)
    assert forgetting(grid, grid).abs().max() == 0
    assert learning(grid, grid).abs().max() == 0
    own = cka_grid(same.originals[0], same.originals[0], debiased)
    assert cka_divergence(own, own).abs().max() == 0
    assert flow(grid).diagonal(dim1=-2, dim2=-1).abs().max() == 0
    for cells in excess(same, same, 20, debiased=debiased):
        assert cells.isnan().equal(torch.ones(3, 3).triu().bool())
        assert cells.nan_to_num().abs().max() == 0


def test_the_flow_of_an_unchanged_network_is_not_zero(found: dict[str, Tensor]) -> None:
    assert flow(found["pt|pt"])[0].tril(-1).min() < -0.05


def test_learning_is_forgetting_with_the_roles_exchanged(found: dict[str, Tensor]) -> None:
    learned = learning(found["ft|ft"], found["pt|ft"])
    pt_is_ft = {"pt|pt": found["ft|ft"], "ft|pt": found["pt|ft"]}
    assert torch.equal(learned, forgetting(pt_is_ft["pt|pt"], pt_is_ft["ft|pt"]))
    assert learned[0].diagonal().min() > 0.05


def test_the_papers_forgetting_adds_the_inversion_error_to_the_measured_one(
    found: dict[str, Tensor],
) -> None:
    measured = forgetting(found["pt|pt"], found["ft|pt"])
    assumed = forgetting(torch.ones_like(found["pt|pt"]), found["ft|pt"])
    torch.testing.assert_close(assumed - measured, 1 - found["pt|pt"])


def test_a_new_head_on_fixed_blocks_changes_no_block_metric() -> None:
    pt, images = network(), pictures()
    probe = nn.Sequential(*pt, nn.Linear(12, 5).double()).eval()
    x, of_its_own = inverted_images(pt, images), inverted_images(probe, images)[:3]

    def blocks(target: nn.Module, inverted: Tensor) -> TargetGrams:
        whole = grams(target, images, inverted)
        return TargetGrams(whole.originals[:, :3], whole.inverted[:, :, :3])

    of_pt, of_ft = blocks(pt, x), blocks(probe, x)
    given_ft = (blocks(target, of_its_own) for target in (pt, probe))
    made = grids(Comparison(*(measured([each]) for each in (of_pt, of_ft, *given_ft))))
    for name in ("forgetting", "learning"):
        assert made[name].abs().max() == 0, name
    assert made["cka_divergence"].diagonal().abs().max() == 0
    torch.testing.assert_close(made["flow"], flow(made["stir_pt_given_pt"]), atol=0, rtol=0)
    assert excess(of_ft, of_pt).value.nan_to_num().abs().max() == 0


def test_rotating_and_rescaling_the_features_of_a_target_changes_no_stir() -> None:
    images, inverted = pictures().flatten(1), pictures(seed=1).flatten(1) + pictures().flatten(1)
    turn = 7 * rotation(48, 5)
    plain, turned = stir([images], [inverted]), stir([images @ turn], [inverted @ turn])
    assert turned.value == pytest.approx(plain.value, abs=1e-12)


def excess(
    ft: TargetGrams,
    baseline: TargetGrams,
    resamples: int = 30,
    seed: int = 0,
    debiased: bool = True,
) -> Cells:
    """C(i, j) of ft over a baseline, with its interval, as the study makes it."""
    images = ft.originals.shape[-1]
    members = half_samples(images, seeded(seed), resamples) if images >= FEWEST else None
    pair = Comparison(measured([baseline], members), measured([ft], members))
    return sampled(pair, {})[debiased].interval(
        lambda s: excess_compression(s["stir_ft_given_pt"], s["stir_pt_given_pt"])
    )


class TestExcessCompression:
    """Nested projections: layer b of pt keeps the first 40 − 6b of 40 rotated coordinates."""

    images, kept, deleted = 240, [34, 28, 22, 16, 10], 2

    def layers(self, kept: Sequence[int], x: Tensor) -> list[Tensor]:
        basis = rotation(40, 6)
        return [x @ basis[:, :count] for count in kept]

    def target(self, kept: Sequence[int], replaced_from: int = 99) -> TargetGrams:
        """Exact inversions of pt, seen by nested layers, or by unrelated ones late on."""
        x, x0 = normal(self.images, 40), normal(self.images, 40, seed=1)
        bases = [rotation(40, 6)[:, :count] for count in self.kept]
        inverted = [x @ b @ b.T + x0 @ (torch.eye(40) - b @ b.T) for b in bases]

        def every_layer(z: Tensor) -> list[Tensor]:
            nested = self.layers(kept, z)
            unrelated = [z @ rotation(40, 50 + c)[:, :c] for c in kept]
            return nested[:replaced_from] + unrelated[replaced_from:]

        return target_grams(every_layer, x[None], torch.stack(inverted)[None])

    def excess(self, kept: Sequence[int], replaced_from: int = 99) -> Cells:
        return excess(self.target(kept, replaced_from), self.target(self.kept))

    def test_deleting_a_block_shows_as_compression_from_that_block_on(self) -> None:
        shortened = [34, 28, 16, 10, 4]
        value, lower, _ = self.excess(shortened)
        for i in range(5):
            for j in range(i):
                if j >= self.deleted:
                    expected = min(1, self.kept[i] / shortened[j]) - self.kept[i] / self.kept[j]
                    assert value[i, j].item() == pytest.approx(expected, abs=0.04)
                    assert lower[i, j] > 0
                else:
                    assert value[i, j].item() == pytest.approx(0, abs=1e-12)

    def test_replacing_late_layers_does_not_show_as_compression(self) -> None:
        value, _, _ = self.excess(self.kept, replaced_from=3)
        assert value.nan_to_num().max() < 0.02

    def test_replacing_late_layers_shows_in_flow_beyond_that_of_the_pretrained_network(
        self,
    ) -> None:
        pt, control = stir_grid(self.target(self.kept)), stir_grid(self.target(self.kept, 3))
        difference = (flow(control) - flow(pt))[0]
        assert difference[4, :3].min() > 0.3
        bracket = control[0] - pt[0] + forgetting(pt, control)[0].diagonal()[:, None]
        torch.testing.assert_close(difference, bracket)

    def test_the_control_can_stand_in_for_the_pretrained_network(self) -> None:
        control, shortened = self.target(self.kept, 3), self.target([34, 28, 16, 10, 4])
        assert excess(shortened, control).low[4, 3] > 0

    def test_intervals_are_as_wide_as_repeated_experiments_scatter(self) -> None:
        def experiment(seed: int) -> tuple[float, float]:
            x, change = normal(60, 6, seed=seed), normal(60, 6, seed=seed + 500)
            moved = torch.stack([x, x + change])[None]
            ft, pt = (target_grams(lambda z, s=s: [s(z), z], x[None], moved)
                      for s in (torch.tanh, lambda z: z[:, :3]))  # fmt: skip
            value, low, high = excess(ft, pt, 40, seed)
            return value[1, 0].item(), (high - low)[1, 0].item()

        values, widths = torch.tensor([experiment(seed) for seed in range(50)]).T
        assert values.std() > 0.01
        assert (widths.mean() / (2 * 1.96 * values.std())).item() == pytest.approx(1, abs=0.35)

    def test_fewer_than_eight_images_give_a_value_without_an_interval(self) -> None:
        small = self.target(self.kept).subset(torch.arange(7))
        value, low, high = excess(small, small)
        assert value[4, 0] == 0
        assert low.isnan().all()
        assert high.isnan().all()


def test_a_seed_alone_shares_far_less_than_a_finished_inversion() -> None:
    pt, images = network(), pictures()
    start, end = (inverted_images(pt, images, d) for d in (InversionOptimizer(steps=0), FAST))
    before, after = (stir_grid(grams(pt, images, x))[0].diagonal() for x in (start, end))
    assert before.max() < 0.3
    assert after.min() > 0.99


def test_the_grid_does_not_depend_on_the_order_of_images_or_on_the_batch_size() -> None:
    pt, images = network(), pictures()
    x, order = inverted_images(pt, images), torch.randperm(40, generator=seeded())
    whole = stir_grid(grams(pt, images, x))
    torch.testing.assert_close(stir_grid(grams(pt, images[order], x[:, order])), whole)
    for size in (1, 17):
        parts = target_grams(every_block(pt), images[None], x[None], batch_size=size)
        torch.testing.assert_close(stir_grid(parts), whole)


def test_500_images_give_the_same_grid_in_batches_of_50_250_and_500() -> None:
    pt, images = network(2, width=12), pictures(500)
    seeds, optimizer = (
        seed_images(images, "noise", seeded(1)),
        InversionOptimizer(20, 0.1, "adam", decay=True),
    )
    found = []
    for size in (50, 250, 500):
        blocks = [truncated(pt, block) for block in range(2)]
        x = torch.stack([invert(m, m(images), seeds, optimizer, size).images for m in blocks])
        found.append(stir_grid(target_grams(every_block(pt), images[None], x[None], size)))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_a_grid_cell_equals_stir_of_its_two_layers(trained: dict[str, TargetGrams]) -> None:
    pt, images = network(), pictures()
    x, layers = inverted_images(pt, images), every_block(network(seed=1))
    cell = stir([layers(images)[2]], [layers(x[1])[2]])
    assert cell.value == pytest.approx(stir_grid(trained["ft|pt"])[0, 1, 2].item(), abs=1e-9)
    assert cell.images == 40
    assert cell.reason is None


def test_stir_averages_over_seeds() -> None:
    pairs = [(pictures(seed=s).flatten(1), pictures(seed=s + 9).flatten(1)) for s in range(3)]
    joint = stir([x for x, _ in pairs], [y for _, y in pairs])
    singles = [stir([x], [y]).value for x, y in pairs]
    torch.testing.assert_close(joint.per_seed, torch.tensor(singles, dtype=torch.float64))
    assert joint.value == pytest.approx(sum(singles) / 3)


def test_a_constant_layer_is_nan_with_a_reason_that_says_which_images() -> None:
    constant, x = torch.ones(10, 3), normal(10, 3)
    assert "original images: constant" in str(stir([constant.double()], [x]).reason)
    assert "inverted images: constant" in str(stir([x], [constant.double()]).reason)
    fine = TargetGrams(linear_grams([x])[None], linear_grams([x])[None, None])
    assert stir_reason(fine, 0, 0) is None


def test_cka_divergence_is_one_minus_cka_where_the_layers_match(
    trained: dict[str, TargetGrams],
) -> None:
    pt, ft = trained["pt|pt"].originals[0], trained["ft|pt"].originals[0]
    divergence = cka_divergence(cka_grid(pt, pt), cka_grid(ft, pt))
    torch.testing.assert_close(divergence.diagonal(), 1 - cka_grid(pt, ft).diagonal())


def test_images_with_larger_residuals_share_less() -> None:
    x, noise = normal(200, 8), normal(200, 8, seed=1)
    amount = torch.linspace(0, 3, 200, dtype=torch.float64)
    groups = residual_groups(linear_gram(x), linear_gram(x + amount[:, None] * noise), amount, 4)
    values = [group.value for group in groups]
    assert values == sorted(values, reverse=True)
    assert [group.images for group in groups] == [50] * 4
    assert groups[-1].residual == pytest.approx(3)
    tiny = residual_groups(*[linear_gram(x[:10])] * 2, amount[:10], 4)
    assert [group.reason for group in tiny] == ["fewer than 4 images"] * 4
    assert all(math.isnan(group.value) for group in tiny)
