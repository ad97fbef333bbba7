"""Tables of runs with a known truth: planted optima, exchangeable checkpoints, planted gains."""

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.verdicts.accuracies import Accuracies

CONTRAST = {"source": "latin", "model": "net", "target": "cyrillic", "mode": "finetune", "shots": 5}

EPOCHS = np.arange(1, 11)
BUMP = np.r_[0, 0, 0, 0.03, 0.01, 0, 0, 0, 0, 0.0]
STARTS = np.array([0, 1, 2, 4, 8])


def runs_table(
    epochs, test, validation, source_accuracy, learning_rates=(0.1,), nested=True, **contrast
):
    """Tidy table of accuracies (T, I, J, L) on both splits and source accuracies (T, I).

    `nested`: draws are each network's own, else all networks share them.
    """
    keys = CONTRAST | contrast
    _, n_seeds, n_draws, _ = test.shape
    axes = [epochs, range(n_seeds), range(n_draws), learning_rates]
    columns = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    names = ["source_epoch", "seed", "draw", "learning_rate"]
    runs = pd.DataFrame(dict(zip(names, columns, strict=True))).assign(**keys)
    runs["draw"] += 1000 * runs["seed"] * nested
    metric = "accuracy_at_validation_best"
    parts = [
        runs.assign(split="test", metric=metric, value=test.ravel()),
        source_rows(epochs, source_accuracy, keys["source"], keys["model"]),
    ]
    if validation is not None:
        parts.append(runs.assign(split="validation", metric=metric, value=validation.ravel()))
    return pd.concat(parts, ignore_index=True)


def source_rows(epochs, accuracy, source="latin", model="net"):
    grid, seeds = np.meshgrid(epochs, range(accuracy.shape[1]), indexing="ij")
    columns = {"source_epoch": grid.ravel(), "seed": seeds.ravel(), "value": accuracy.ravel()}
    return pd.DataFrame(columns).assign(
        source=source, model=model, mode="pretrain", split="validation", metric="accuracy"
    )


def peak_at(epochs, best, n_seeds):
    """Source accuracies (T, I) that are highest at epoch `best` for every seed."""
    height = 0.9 - 0.001 * np.abs(np.asarray(epochs) - best)
    # Networks differ in their level: equal histories would be one network under several names.
    return height[:, None] - 1e-4 * np.arange(n_seeds)


def planted_gain(
    seed, gains, n_seeds=8, n_draws=2, n_rates=1, seed_sd=0.01, run_sd=0.005, base=0.5
):
    """Accuracies (T, I, J, L) on test and validation; the last epoch of T is source-best.

    `gains` (T,) or (T, L) is the true difference from source-best, whose entry must be zero.
    `seed_sd` is the spread, over seeds, of the difference from source-best; both splits share it.
    """
    generator = np.random.default_rng(seed)
    gains = np.asarray(gains, dtype=float)
    gains = gains[:, None, None, :] if gains.ndim == 2 else gains[:, None, None, None]
    shape = (len(gains), n_seeds, n_draws, n_rates)
    network = generator.normal(0, seed_sd / np.sqrt(2), (len(gains), n_seeds, 1, 1))
    draw = generator.normal(0, 0.02, (1, 1, n_draws, 1))
    truth = base + gains + network + draw
    return tuple(np.clip(truth + generator.normal(0, run_sd, shape), 0, 1) for _ in range(2))


def as_accuracies(test, validation, learning_rates=(0.1,)):
    """The arrays of `planted_gain` in the form that the tests work on, epochs 1 … T."""
    n_epochs, n_seeds, n_draws, _ = test.shape
    return Accuracies(
        epochs=np.arange(1, n_epochs + 1),
        seeds=tuple(range(n_seeds)),
        draws=tuple(range(n_draws)),
        learning_rates=tuple(learning_rates),
        source_best=np.full(n_seeds, n_epochs),
        validation=np.concatenate([validation, validation[-1:]]),
        test=np.concatenate([test, test[-1:]]),
    )


def study(gains=BUMP, n_seeds=8, seed=0, best=10, rates=(0.1,), contrast=None, **planted):
    """A whole table, of a gain of three points at epoch 4 of 10 unless said otherwise."""
    arrays = planted_gain(seed, gains, n_seeds=n_seeds, n_rates=len(rates), **planted)
    source = peak_at(EPOCHS, best, n_seeds)
    return runs_table(EPOCHS, *arrays, source, rates, **(contrast or {}))


def merged(*shots, **options):
    """One study for each number of shots, on the same source networks."""
    parts = [study(seed=i, contrast={"shots": s}, **options) for i, s in enumerate(shots)]
    rows = [parts[0], *(p[p["mode"] != "pretrain"] for p in parts[1:])]
    return pd.concat(rows, ignore_index=True)


def small_table(n_seeds=3, n_draws=2, rates=(0.01, 0.1), best=4, seed=0):
    """A random table from the epochs STARTS, with its test and validation arrays."""
    generator = np.random.default_rng(seed)
    shape = (len(STARTS), n_seeds, n_draws, len(rates))
    test, validation = generator.random((2, *shape))
    return (
        runs_table(STARTS, test, validation, peak_at(STARTS, best, n_seeds), rates),
        test,
        validation,
    )


def fine_tuning(table):
    """Which rows are not about source networks."""
    return table["mode"] != "pretrain"


def source_loss(step, squared_norm=1.0, v=0.25):
    """E‖s(w0 + ε) − w0‖² at step s = 1 − 0.9^t, for ‖w0‖² and E‖ε‖² = v."""
    return squared_norm * (1 - step) ** 2 + v * step**2


def target_loss(step, rho, pull, noise, v=0.25):
    """E‖(z_T + μ ŵ_S) / (1 + μ) − w1‖² for ŵ_S = s(w0 + ε), z_T = w1 + n, ‖w0‖ = 1, E‖n‖² = noise.

    ρ = ⟨w0, w1⟩ and ‖w1‖² = ρ² + 0.09, as in `planted_optimum`, whose μ (`pull`) is 1.
    """
    distance = step**2 * (1 + v) - 2 * step * rho + rho**2 + 0.09
    return (noise + pull**2 * distance) / (1 + pull) ** 2


def planted_optimum(rho, seed, n_seeds=8, n_draws=4, dimensions=400):
    """A table in which gradient descent on a source task is followed by ridge on a target task.

    Orthonormal design: after t steps the source estimate of seed i is s(t)(w0 + ε_i) with
    s = 1 − 0.9^t, ‖w0‖ = 1, E‖ε‖² = 0.25; the target estimate is (z_T + ŵ_S) / 2 with z_T = w1 + n.
    The source is best at s = 0.8 (t = 15.28), the target at 0.8 ρ with ρ = ⟨w0, w1⟩.
    """
    generator = np.random.default_rng(seed)
    epochs = np.arange(41)
    step = (1 - 0.9**epochs)[:, None, None]
    w0, orthogonal = np.eye(dimensions)[0], np.eye(dimensions)[1]
    w1 = rho * w0 + 0.3 * orthogonal
    learned = w0 + generator.normal(0, np.sqrt(0.25 / dimensions), (n_seeds, dimensions))
    noise = generator.normal(0, np.sqrt(0.04 / dimensions), (n_draws, dimensions))
    source = step * learned
    target = (source[:, :, None] + w1 + noise) / 2
    accuracy = 1 - ((target - w1) ** 2).sum(axis=-1)[..., None]
    test, validation = (accuracy + generator.normal(0, 0.002, accuracy.shape) for _ in range(2))
    return runs_table(epochs, test, validation, 1 - ((source - w0) ** 2).sum(axis=-1) / 2)
