"""Invariance: one job inverts one network or run; one compares all runs from a source network with it."""


rule inversions:
    input:
        network=ancient(needs(PLAN, "network")),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/inversions/{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}-{key}/manifest.json",
    log:
        "logs/inversions/{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}-{key}.log",
    # Before transfers: the comparison waits for them, and its figures are drawn beside other work.
    priority: 12
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} inversions {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule invariance:
    input:
        pretrain=ancient(needs(PLAN, "pretrain")),
        trajectory=ancient(needs(PLAN, "trajectory")),
        inversions=ancient(needs(PLAN, "inversions")),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/invariance/{source}-{model}-{target}-seed{seed}-{key}/manifest.json",
    log:
        "logs/invariance/{source}-{model}-{target}-seed{seed}-{key}.log",
    priority: 12
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} invariance {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_inversions:
    input:
        manifests(PLAN.jobs("inversions")),


rule stage_invariance:
    input:
        manifests(PLAN.jobs("invariance")),
