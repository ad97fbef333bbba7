"""Datasets, and the check of everything that the params promise, before any network trains."""


rule data:
    output:
        "results/data/{dataset}-{key}/manifest.json",
    log:
        "logs/data/{dataset}-{key}.log",
    retries: 0
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} data {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule check:
    input:
        data=ancient(needs(PLAN, "data")),
    output:
        "results/check/study-{key}/manifest.json",
    log:
        "logs/check/study-{key}.log",
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} check {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_data:
    input:
        manifests(PLAN.jobs("data")),


rule stage_check:
    input:
        manifests(PLAN.jobs("check")),
