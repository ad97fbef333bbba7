"""The graph of jobs that a params file asks for: the one source for Snakemake, DVC and the commands.

It reads `params.yaml` and source files, nothing else: no data, no network and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from headstart.artifacts.keys import SHORT, Job
from headstart.params import Params
from headstart.plan import invariance, knowledge, networks, products
from headstart.plan.jobs import Jobs
from headstart.plan.steps import STEPS, Step

__all__ = ["STEPS", "Plan", "Step", "comes_after", "manifests", "needs"]


class Plan:
    """All jobs of a params file, in the order of the graph."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self._jobs = Jobs(params)
        for add in (
            networks.add_data,
            networks.add_check,
            networks.add_pretrained,
            networks.add_transfers,
            networks.add_trajectories,
            networks.add_plasticity,
            knowledge.add_knowledge,
            invariance.add_invariance,
            products.add_studies,
            products.add_products,
        ):
            add(self._jobs)

    def jobs(self, *steps: str) -> list[Job]:
        """Return the jobs of the given steps, or of all."""
        return [job for step in steps or STEPS for job in self._jobs.by_step[step]]

    def job(self, key: str) -> Job:
        """Return the job whose key begins with these 12 digits.

        Raises:
            LookupError: no such job in this plan.
        """
        try:
            return self._jobs.by_key[key[:SHORT]]
        except KeyError:
            raise LookupError(
                f"no job has the key {key}: the params or the source changed since it was listed; "
                "run the command again"
            ) from None


def manifests(jobs: Iterable[Job]) -> list[str]:
    """Return the manifest paths of jobs, as Snakemake names its files."""
    return [job.manifest.as_posix() for job in jobs]


def needs(plan: Plan, role: str) -> Callable[[Any], list[str]]:
    """Return a Snakemake input function: the manifests that a rule's job reads in this role, if any."""

    def manifests_of(wildcards: Any) -> list[str]:
        return manifests(plan.job(wildcards.key).inputs.get(role, ()))

    return manifests_of


def comes_after(plan: Plan) -> Callable[[Any], list[str]]:
    """Return a Snakemake input function: the manifests of what must have run before a rule's job.

    There are none where the job is done already. Its predecessors are not in its key, and Snakemake
    runs a job again, `ancient` or not, when an input of it has to be made.
    """

    def manifests_of(wildcards: Any) -> list[str]:
        job = plan.job(wildcards.key)
        return [] if job.manifest.exists() else manifests(job.after)

    return manifests_of
