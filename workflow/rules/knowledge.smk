"""Knowledge: scores of all masked images, one job per arm and source network, and what they say together."""


rule values:
    input:
        trajectory=ancient(needs(PLAN, "trajectory")),
        data=ancient(needs(PLAN, "data")),
    output:
        "results/values/{source}-{model}-{target}-{arm}-seed{seed}-{key}/manifest.json",
    log:
        "logs/values/{source}-{model}-{target}-{arm}-seed{seed}-{key}.log",
    # Before transfers: the comparison and its figures wait for them.
    priority: 12
    resources:
        gpu=GPU,
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} values {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule knowledge:
    input:
        values=ancient(needs(PLAN, "values")),
    output:
        "results/knowledge/{source}-{model}-{target}-{key}/manifest.json",
    log:
        "logs/knowledge/{source}-{model}-{target}-{key}.log",
    priority: 12
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} knowledge {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_values:
    input:
        manifests(PLAN.jobs("values")),


rule stage_knowledge:
    input:
        manifests(PLAN.jobs("knowledge")),
