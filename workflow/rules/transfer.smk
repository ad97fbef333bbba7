"""Transfer: one job takes all checkpoints of one network to one target, over shots, draws and rates."""


rule transfer:
    input:
        check=ancient(comes_after(PLAN)),
        pretrain=ancient(needs(PLAN, "pretrain")),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/transfer/{source}-{model}-{target}-{arm}-seed{seed}-{key}/manifest.json",
    log:
        "logs/transfer/{source}-{model}-{target}-{arm}-seed{seed}-{key}.log",
    # Long jobs first, so that no core is left without work at the end.
    priority: 10
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} transfer {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_transfer:
    input:
        manifests(PLAN.jobs("transfer")),
