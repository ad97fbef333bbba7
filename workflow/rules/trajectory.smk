"""Trajectories: one job trains on a whole target set from one source epoch and keeps its checkpoints."""


rule trajectory:
    input:
        check=ancient(comes_after(PLAN)),
        pretrain=ancient(needs(PLAN, "pretrain")),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/trajectory/{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}-{key}/manifest.json",
    log:
        "logs/trajectory/{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}-{key}.log",
    # What later steps look into comes before what ends in a table.
    priority: 15
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} trajectory {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_trajectory:
    input:
        manifests(PLAN.jobs("trajectory")),
