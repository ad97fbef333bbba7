"""Pre-training: one job trains one network on its source task and keeps its checkpoints."""


rule pretrain:
    input:
        check=ancient(comes_after(PLAN)),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/pretrain/{source}-{model}-seed{seed}-{key}/manifest.json",
    log:
        "logs/pretrain/{source}-{model}-seed{seed}-{key}.log",
    # Long jobs first, so that no core is left without work at the end.
    priority: 20
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} pretrain {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_pretrain:
    input:
        manifests(PLAN.jobs("pretrain")),
