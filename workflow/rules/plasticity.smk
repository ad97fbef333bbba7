"""Plasticity: one job measures all kept checkpoints of one network, on its source and its targets."""


rule plasticity:
    input:
        pretrain=ancient(needs(PLAN, "pretrain")),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/plasticity/{source}-{model}-seed{seed}-{key}/manifest.json",
    log:
        "logs/plasticity/{source}-{model}-seed{seed}-{key}.log",
    # After transfers, which last longer, and before figures of other studies.
    priority: 5
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} plasticity {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_plasticity:
    input:
        manifests(PLAN.jobs("plasticity")),
