"""Presets: what they plan, that Snakemake can plan them without data, and that all of each runs."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from checkout import ROOT
from matplotlib import pyplot as plt
from reduced import CLASSES, network_problems, read, reduced, write
from workflow import Project, new_project

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256
from headstart.artifacts.keys import Job
from headstart.maintenance import presets
from headstart.networks import timm_models
from headstart.networks.build import build
from headstart.params.core import CoreParams
from headstart.plan import Plan
from headstart.registry import function_of, parse
from headstart.studies.early_stopping.figures import plasticity, ranges, transfer
from headstart.studies.early_stopping.figures import verdicts as figures_of_verdicts
from headstart.studies.early_stopping.figures.curves import curves_figure as figure_of_curves
from headstart.studies.early_stopping.verdicts.decision import seeds_needed
from headstart.studies.knowledge.tables import networks_text
from headstart.tasks.typefaces import lettering
from headstart.tasks.vision import cifar100_groups
from headstart.training.checkpoints import load as load_weights
from headstart.training.checkpoints import save

PUBLISHED = ("gutstein_cifar100", "gutstein_mini", "gutstein_caltech")
NEW = (*PUBLISHED, "gutstein_vgg16", "recommended")
LARGER = ("thorough", "photographs")
ATLAS = "atlas"
JIANG = ("jiang_fine_grained", "jiang_cifar10")
EVERY_TEN = (*range(0, 201, 10),)


def preset(name: str) -> CoreParams:
    return parse(presets.read(presets.find(name)))


def runs(params: CoreParams) -> Counter[tuple[str, ...]]:
    """Count the runs of every source, arm and number of shots, `best` as a checkpoint of its own."""
    counts: Counter[tuple[str, ...]] = Counter()
    for model, arms in params.section("transfer").items():
        seeds = len(params.pretrain[model].seeds)
        for arm, part in arms.items():
            points = {
                (target, epoch, shots, rate)
                for grid in part.grids()
                for target in grid.targets or ("",)
                for epoch in grid.source_epochs
                for shots in grid.shots
                for rate in grid.learning_rates
            }
            for source, (_, _, shots, _) in product(params.pretrain[model].sources, points):
                counts[f"{source}-{model}", arm, str(shots)] += seeds * len(part.draws)
    return counts


def test_the_runs_of_the_published_protocol_are_as_many_as_published() -> None:
    cifar = runs(preset("gutstein_cifar100"))
    for shots in ("1", "5", "10", "25"):
        assert cifar["living-wrn", "finetune", shots] == 198
    # 22 checkpoints of one network and one draw there, of three networks here.
    assert cifar["living-wrn", "low_rate", "10"] == 3 * 22
    assert cifar["living-wrn", "relearn10", "10"] == 2 * 3 * 22
    assert cifar["living-wrn", "relearn50", "50"] == 3 * 22
    assert set(runs(preset("gutstein_mini")).values()) == {550}
    assert set(runs(preset("gutstein_caltech")).values()) == {550}


@pytest.mark.parametrize("name", [*NEW, ATLAS])
def test_the_number_of_runs_stands_in_the_comment_of_a_preset(name: str) -> None:
    comment = (ROOT / "presets" / f"{name}.yaml").read_text().split("\n\n")[0]
    numbers = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d", comment)}
    counted = runs(preset(name))
    assert {counted.total(), *counted.values()} <= numbers


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_protocol_keeps_22_checkpoints_and_trains_as_published(name: str) -> None:
    params = preset(name)
    for model, pretrain in params.pretrain.items():
        assert pretrain.checkpoint_epochs() == EVERY_TEN
        assert (pretrain.epochs, pretrain.learning_rate, pretrain.batch_size) == (200, 0.1, 128)
        assert params.models[model].model_dump()["norm_momentum"] == 0.9
        for part in params.section("transfer")[model].values():
            assert part.source_epochs == (*EVERY_TEN, "best")
            assert part.schedule == pretrain.schedule
            assert part.augmentation == pretrain.augmentation
            assert (part.epochs, part.head_seed, part.test_epochs) == (200, 1453, "all")
            assert not part.optimizer.decay_head


def test_the_recommended_study_has_nine_seeds_five_rates_and_checkpoints_around_drops() -> None:
    params = preset("recommended")
    pretrain, arms = params.pretrain["wrn"], params.section("transfer")["wrn"]
    assert len(pretrain.seeds) == 9
    assert {1, 2, 4, 8, 16, 32, 59, 60, 61, 119, 121, 159, 161} < set(pretrain.checkpoint_epochs())
    assert arms["finetune"].learning_rates == (0.1, 0.03, 0.01, 0.003, 0.001)
    assert {arm.mode for arm in arms.values()} == {"finetune", "probe", "relearn"}
    assert (arms["shrink_perturb"].shrink, arms["recalibrated"].shrink) == (0.4, 1.0)


def test_six_seeds_or_more_come_with_a_primary_contrast_and_can_decide_it_and_the_others() -> None:
    for file in sorted((ROOT / "presets").glob("*.yaml")):
        params = preset(file.stem)
        # A contrast counts where its own number of seeds could decide it, as in the verdicts.
        seeds = [
            (source, model, target, arm, str(shots), len(params.pretrain[model].seeds))
            for model, arms in params.section("transfer").items()
            for arm, part in arms.items()
            for source in params.pretrain[model].sources
            for target in part.targets or (source,)
            for shots in part.shots
            if len(params.pretrain[model].seeds) >= seeds_needed()
        ]
        if not seeds:
            continue
        primary = params.section("statistics").primary
        assert primary, file.name
        named = (primary.source, primary.model, primary.target, primary.arm, str(primary.shots))
        (first,) = (number for *names, number in seeds if tuple(names) == named)
        # Twice: very early checkpoints are far worse, and the floor of p is then twice as high.
        assert first >= seeds_needed(2), file.name
        others = max(1, len(seeds) - 1)
        assert all(number >= seeds_needed(others) for *_, number in seeds), file.name


def test_the_classes_of_the_published_tasks_are_as_many_as_published() -> None:
    tiny = preset("gutstein_mini").datasets["tiny"].model_dump()["groups"]
    assert [len(set(tiny[name])) for name in ("artefacts", "animals")] == [65, 35]
    caltech = preset("gutstein_caltech").tasks
    assert [len(set(caltech[name].classes)) for name in ("living", "non_living")] == [51, 49]
    cifar = cifar100_groups()
    assert [len(cifar[name]) for name in ("living", "non_living")] == [65, 35]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return new_project(tmp_path_factory.mktemp("planned") / "project")


@pytest.mark.parametrize("name", [*NEW, *LARGER, ATLAS])
def test_snakemake_plans_a_preset_without_its_data(planned: Project, name: str) -> None:
    planned.headstart("use", name)
    output = planned.snakemake("-n")
    plan = Plan(preset(name))
    for step in ("data", "pretrain", "transfer"):
        assert re.search(rf"^{step} +{len(plan.jobs(step))}$", output, re.MULTILINE)
    assert not (planned.folder / "downloads").exists()


def train(plan: Plan) -> dict[str, pd.DataFrame]:
    """Do all jobs of a plan up to its tables; return them by name."""
    for job in plan.jobs("data", "check", "pretrain", "transfer", "tables"):
        artifact = done(job)
    names = ("measurements", "curves", "verdicts", "published")
    return {name: artifact_table(artifact, name) for name in names}


def done(job: Job) -> store.Artifact:
    """Do the job's step in this process."""
    return store.run(job, function_of(job))


def test_snakemake_plans_a_preset_on_knowledge_without_its_data_and_weights(
    planned: Project,
) -> None:
    planned.headstart("use", "jiang_cifar10")
    output = planned.snakemake("-n")
    plan = Plan(preset("jiang_cifar10"))
    for step in ("pretrain", "trajectory", "values", "knowledge"):
        assert re.search(rf"^{step} +{len(plan.jobs(step))}$", output, re.MULTILINE)


@pytest.mark.parametrize("name", [*JIANG, "efficientnet_cifar"])
def test_the_numbers_of_a_preset_on_knowledge_stand_in_its_comment(name: str) -> None:
    plan = Plan(preset(name))
    comment = (ROOT / "presets" / f"{name}.yaml").read_text().split("\n\n")[0]
    assert f"Runs: {len(plan.jobs('trajectory'))} trajectories;" in comment
    masked = 0
    for job in plan.jobs("values"):
        scores = next(iter(plan.params.section("knowledge").values()))
        networks = sum(len(set(epochs) - {"last"}) for epochs in job.params["epochs"])
        masked += networks * scores.images * 2**scores.players.count
    assert f" {masked / 1e6:.{int(masked < 1e7)}f} million masked images" in comment


@pytest.mark.parametrize(
    ("preset", "model"),
    [
        ("jiang_cifar10", "vgg16"),
        ("jiang_fine_grained", "vit_small"),
        ("efficientnet_cifar", "efficientnet"),
    ],
)
def test_a_network_that_is_given_by_weights_is_compared_with_one_of_random_weights(
    preset: str, model: str, project: Path
) -> None:
    """The second is a vision transformer, trained, masked and compared for real, but tiny."""
    raw = reduced(read(preset))
    kept = (model, f"{model}_random")
    raw["trajectory"] = {name: raw["trajectory"][name] for name in kept}
    raw["pretrain"] = {name: raw["pretrain"][name] for name in kept}
    raw["knowledge"] = {model: raw["knowledge"][model]}
    given = build(parse(raw).models[model], 1, 12, CLASSES, seed=5).state_dict()
    save(given, project / "given.safetensors")
    sha256 = file_sha256(project / "given.safetensors")
    raw["models"][model]["weights"] = {"path": "given.safetensors", "sha256": sha256}
    plan = Plan(parse(raw))
    for job in plan.jobs("data", "check", "pretrain", "trajectory", "values", "knowledge"):
        artifact = done(job)
    assert artifact.manifest["summary"]["measurements"] > 1000
    probes = {job.wildcards["model"]: job for job in plan.jobs("values") if "probe" in job.name}
    starts = {
        name: load_weights(job.inputs["trajectory"][0].path / "epoch-0000.safetensors")
        for name, job in probes.items()
    }
    names = [name for name in given if name.startswith("backbone.")]
    assert all(torch.equal(starts[model][name], given[name]) for name in names)
    assert not all(torch.equal(starts[f"{model}_random"][name], given[name]) for name in names)
    table = artifact_table(artifact, "measurements")
    assert networks_text(3, table) == "3 fine-tuning runs of one backbone"
    share = table[(table["metric"] == "preserved_of_pretrained") & table["order"].isna()]
    assert {"null_random_backbone", "ceiling_second_run"} <= set(
        share.loc[share["value"].notna(), "condition"]
    )


@pytest.mark.parametrize("name", JIANG)
def test_a_preset_on_knowledge_plans_all_published_architectures(name: str) -> None:
    plan = Plan(preset(name))
    targets = len(plan.params.tasks)
    compared = Counter(job.wildcards["model"] for job in plan.jobs("knowledge"))
    assert compared == dict.fromkeys(("vgg16", "resnet50", "vit_small", "vit_base"), targets)
    # Fine-tuned and probed of the given weights, from scratch and probed of random ones.
    arms = Counter((job.wildcards["model"], job.wildcards["arm"]) for job in plan.jobs("values"))
    assert set(arms.values()) == {3 * targets}
    assert len(arms) == 4 * 4


@pytest.mark.parametrize(("name", "features"), [("vgg16", 4096), ("resnet50", 2048)])
def test_a_published_convolutional_architecture_takes_small_images(
    name: str, features: int
) -> None:
    model = preset("jiang_cifar10").models[f"{name}_random"]
    with torch.device("meta"):  # shapes alone: the network of VGG-16 would take 0.5 GB
        backbone = timm_models.backbone(model, channels=3, image_size=32)
        images = torch.zeros(2, 3, 32, 32)
        assert backbone.eval()(images).shape == (2, features)


def artifact_table(artifact: store.Artifact, name: str) -> pd.DataFrame:
    return pd.read_parquet(artifact.file(f"{name}.parquet"))


@pytest.mark.parametrize("name", [*PUBLISHED, *LARGER])
def test_every_arm_of_a_preset_trains_when_reduced(name: str, project: Path) -> None:
    others = {section: {} for section in ("trajectory", "knowledge", "invariance")}
    plan = Plan(parse(reduced(read(name)) | others))
    tables = train(plan)
    table = tables["measurements"]
    peaks = table[table["metric"] == "oracle_peak"]
    assert {tuple(row) for row in peaks[["model", "arm"]].drop_duplicates().to_numpy()} == {
        (model, arm) for model, arms in plan.params.section("transfer").items() for arm in arms
    }
    assert peaks["value"].between(0, 1).all()
    # One preset does for what reads the tables: it has every arm that the others have.
    if name == "gutstein_cifar100":
        claims_are_judged_and_figures_drawn(plan, tables)


def test_the_atlas_has_a_cell_for_every_network_checkpoint_target_rate_and_number_of_shots() -> (
    None
):
    params = preset(ATLAS)
    pretrain, arm = params.pretrain["convnet"], params.section("transfer")["convnet"]["finetune"]
    scratch = params.section("transfer")["convnet"]["scratch"]
    assert len(pretrain.seeds) == 20
    assert len(pretrain.checkpoint_epochs()) == 12
    assert arm.source_epochs == (*pretrain.checkpoint_epochs(), "best")
    assert len(arm.targets) == 10
    assert (min(arm.learning_rates), max(arm.learning_rates)) == (0.02, 0.8)
    assert (scratch.source_epochs, max(scratch.learning_rates)) == ((0,), 1)
    assert not set(scratch.learning_rates) & set(arm.learning_rates), "scratch is tuned further"
    assert (arm.shots, arm.draws, arm.nested_draws) == ((1, 5, 20), (0, 1), True)
    for part, starts in ((arm, len(pretrain.checkpoint_epochs())), (scratch, 1)):
        assert starts * len(part.learning_rates) * len(part.draws) % part.slots == 0


def test_the_letters_of_the_atlas_are_drawn_by_families_apart_without_any_download() -> None:
    params = preset(ATLAS)
    letters = lettering(params.datasets["glyphs"])
    train, test = (
        {face.family for (_, of), faces in letters.faces.items() if of == part for face in faces}
        for part in ("train", "test")
    )
    assert test
    assert not train & test, "no target is tested on a family that its source network saw"
    known = {letter for letters in letters.letters.values() for letter in letters}
    for name, task in params.tasks.items():
        if task.dataset == "glyphs" and task.classes != name:
            assert set(task.classes) <= known, name


def test_the_atlas_reduced_to_two_networks_three_checkpoints_and_two_targets_has_its_verdicts(
    project: Path,
) -> None:
    """It keeps its own letters: those of three alphabets."""
    raw, targets = read(ATLAS), ["cyrillic", "armenian"]
    raw["tasks"] = {name: raw["tasks"][name] for name in ("latin", *targets)}
    letters = raw["datasets"]["glyphs"] | {"alphabets": ["latin", *targets]}
    raw["datasets"].pop("digits")
    small = reduced(raw)
    small["datasets"]["glyphs"] = letters | {
        "size": 12,
        "train_per_class": 12,
        "test_per_class": 3,
    }
    for name, classes in (("cyrillic", "БГД"), ("armenian", "ԱԲԳ")):
        small["tasks"][name]["classes"] = [*classes]
    small["pretrain"]["convnet"]["seeds"] = [0, 1]
    arms = small["transfer"]["convnet"]
    for arm in arms.values():
        arm |= {"targets": targets, "draws": [0, 1], "nested_draws": True}
    arms["finetune"] |= {"learning_rates": [0.1, 0.8]}
    arms["scratch"] |= {"learning_rates": [0.3, 1.0], "source_epochs": [0]}
    tables = train(Plan(parse(small)))
    table = tables["measurements"]
    named = table["source_epoch"].isin([0, 2]) & (table["split"] == "test")
    chosen = table[named & (table["metric"] == "accuracy_at_validation_best")]
    # Two networks, targets, draws and rates, from two epochs; `best` is one of them, or epoch 1.
    assert len(chosen[chosen["arm"] == "finetune"]) == 2**5
    assert len(chosen[chosen["arm"] == "scratch"]) == 2**4
    assert set(chosen.loc[chosen["seed"] == 1, "draw"]) == {1000, 1001}, "draws of its own"
    verdicts = tables["verdicts"]
    assert set(verdicts["target"]) == set(targets)
    primary = verdicts.loc[verdicts["primary"], ["target", "arm"]].drop_duplicates()
    assert primary.to_numpy().tolist() == [["cyrillic", "finetune"]]
    assert set(verdicts["verdict"]) == {"undetermined"}, "two networks decide nothing"
    assert not verdicts["reason"].str.contains("not crossed").any()
    the_page_writes_and_judges_the_release_files(project)


def the_page_writes_and_judges_the_release_files(project: Path) -> None:
    """Run the Python of docs/atlas.md on the tables of the reduced study, whose last checkpoint is 2."""
    page = (ROOT / "docs" / "atlas.md").read_text()
    write_files, judge = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(write_files, {})
    found = pd.read_parquet(project / "atlas_runs.parquet")
    axes = ["target", "shots", "seed", "draw", "source_epoch", "learning_rate"]
    assert not found.duplicated(axes).any()
    # Of four pairs of network and target, two draws: two rates of each checkpoint, two more from scratch.
    scratch = found["source_epoch"] == 0
    assert (scratch.sum(), (found["source_epoch"] == 2).sum()) == (4 * 2 * 4, 4 * 2 * 2)
    for column in re.findall(r"^\| (`.*?`) ?(?:, …)? ?\|", page, re.MULTILINE):
        assert set(re.findall(r"`(\w+)`", column)) <= set(found.columns), column
    way = pd.read_parquet(project / "atlas_way.parquet")
    assert len(way) == len(found)
    assert {f"validation_{epoch}" for epoch in range(3)} < set(way.columns)
    assert set(pd.read_parquet(project / "atlas_sources.parquet")["mode"]) == {"pretrain"}
    names: dict[str, Any] = {}
    exec(judge.replace("{key: 30 for", "{key: 2 for"), names)
    by_hand = _regret_by_hand(names["worth"], 2)
    assert names["regret"](names["last"]) == pytest.approx(by_hand, abs=1e-4), "files in float32"
    # A known answer: epoch 2 is 10 points better than any other, on both draws.
    index = names["worth"].index
    values = [0.5 if epoch == 2 else 0.4 for epoch in index.get_level_values("source_epoch")]
    names["worth"] = pd.DataFrame({0: values, 1: values}, index=index)
    assert names["regret"](names["last"]) == pytest.approx(0)
    assert names["regret"](names["last"] * 0) == pytest.approx(10)


def _regret_by_hand(worth: pd.DataFrame, epoch: int) -> float:
    parts = []
    for _, cell in worth.groupby(["target", "shots", "seed"]):
        cell = cell.droplevel(["target", "shots", "seed"])
        for one, other in ((0, 1), (1, 0)):
            parts.append(cell.loc[cell[one].idxmax(), other] - cell.loc[epoch, other])
    return 100 * float(sum(parts)) / len(parts)


def claims_are_judged_and_figures_drawn(plan: Plan, tables: dict[str, pd.DataFrame]) -> None:
    """Judge all claims on reduced tables, and draw every figure that the notebook draws of them."""
    judged = tables["verdicts"]
    assert judged["primary"].sum() == 1
    assert judged.loc[judged["primary"], "arm"].item() == "finetune"
    for job in plan.jobs("controls", "claims"):
        done(job)
    claims = pd.read_csv(done(job).file("claims.csv")).set_index("claim")
    claims = claims[claims["study"] == "early_stopping"]
    assert set(claims["status"]) == {"undetermined", "not measured here"}
    assert claims.loc["C1", "reason"].startswith("Not decided, because 1 source seed cannot")
    drawn = [
        transfer.transfer_figure(tables["measurements"], "wrn", 0.95),
        figures_of_verdicts.gains_figure(tables["measurements"], judged, "wrn", 0.95),
        ranges.ranges_figure(tables["measurements"], tables["published"], "wrn"),
        transfer.stems_figure(tables["measurements"], "wrn"),
        figure_of_curves(tables["measurements"], tables["curves"], judged, "wrn", 0.95),
    ]
    for figure, table in drawn:
        assert len(table)
        plt.close(figure)
    starts = plasticity.trainability_table(tables["measurements"], 0.95)
    assert set(starts["arm"]) == set(plan.params.section("transfer")["wrn"])
    assert starts["censored"].notna().all()


def test_each_intervention_of_the_recommended_study_does_its_own_thing(project: Path) -> None:
    raw = reduced(read("recommended"))
    curves = train(Plan(parse(raw)))["curves"]
    at = curves[curves["source_epoch"] == 2].set_index(["arm", "split", "metric", "target_epoch"])
    loss = at["value"]

    def start(arm: str) -> float:
        return loss[arm, "train", "loss", 0]

    def end(arm: str, split: str = "train") -> float:
        return loss[arm, split, "loss", 2]

    assert start("finetune") == start("warm_up") == start("clipped") == start("early_decay")
    assert start("finetune") != start("recalibrated") != start("shrink_perturb")
    assert len({end(arm) for arm in ("finetune", "shrink_perturb", "warm_up", "clipped")}) == 4
    # Updates never read running statistics; only what is measured differs.
    assert end("recalibrated") == end("finetune")
    assert end("recalibrated", "validation") != end("finetune", "validation")


def test_a_network_without_batch_normalisation_is_not_recalibrated() -> None:
    raw = reduced(read("default"))
    raw["transfer"]["vit"]["finetune"]["recalibrate_batch_norm"] = True
    (problem,) = network_problems(raw, (1, 12, 12))
    assert problem == (
        "transfer.vit.finetune.recalibrate_batch_norm: true, but vit has no batch normalisation; "
        "leave it out"
    )


def test_the_published_protocol_reduced_runs_under_snakemake(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    raw = reduced(read("gutstein_cifar100"))
    raw["transfer"]["wrn"] = {"finetune": raw["transfer"]["wrn"]["finetune"]}
    write(raw, project.folder / "params.yaml")
    output = project.snakemake("--", "stage_tables")
    assert "run 2/2  source epoch 2, 2 shots, draw 0, rate 0.1: validation" in output
    assert len(project.manifests("transfer")) == 1
    assert len(project.manifests("tables")) == 1


def test_the_numbers_of_networks_and_runs_stand_in_the_documentation() -> None:
    text = (ROOT / "docs" / "presets.md").read_text()
    for name in (*NEW, *LARGER, ATLAS):
        params = preset(name)
        networks = sum(len(part.sources) * len(part.seeds) for part in params.pretrain.values())
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert line.endswith(f"| {networks} | {runs(params).total():,} |")
