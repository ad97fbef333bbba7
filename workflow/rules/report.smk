"""Tables, claims, figures, the report, and the copies that a person opens."""


rule tables:
    input:
        pretrain=ancient(needs(PLAN, "pretrain")),
        transfer=ancient(needs(PLAN, "transfer")),
        plasticity=ancient(needs(PLAN, "plasticity")),
        knowledge=ancient(needs(PLAN, "knowledge")),
        invariance=ancient(needs(PLAN, "invariance")),
    output:
        "results/tables/{study}-{key}/manifest.json",
    log:
        "logs/tables/{study}-{key}.log",
    # At once: the longest figures should not be the last to start.
    priority: 12
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} tables {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule claims:
    input:
        tables=ancient(needs(PLAN, "tables")),
    output:
        "results/claims/all-{key}/manifest.json",
    log:
        "logs/claims/{key}.log",
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} claims --key {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule figures:
    input:
        tables=ancient(needs(PLAN, "tables")),
    output:
        "results/figures/{study}-{key}/manifest.json",
    log:
        "logs/figures/{study}-{key}.log",
    # Kernels that start at the same moment can claim the same port.
    retries: 1
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} figures {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule report:
    input:
        tables=ancient(needs(PLAN, "tables")),
        figures=ancient(needs(PLAN, "figures")),
        claims=ancient(needs(PLAN, "claims")),
    output:
        "results/report/all-{key}/manifest.json",
    log:
        "logs/report/{key}.log",
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} report {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule publish:
    input:
        figures=ancient(needs(PLAN, "figures")),
        report=ancient(needs(PLAN, "report")),
        claims=ancient(needs(PLAN, "claims")),
    output:
        "figures/.{key}",
    log:
        "logs/publish/{key}.log",
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} publish {wildcards.key} --params {params.snapshot:q} --log {log:q}"


rule stage_tables:
    input:
        manifests(PLAN.jobs("tables")),


rule stage_claims:
    input:
        manifests(PLAN.jobs("claims")),


rule stage_figures:
    input:
        manifests(PLAN.jobs("figures")),


rule stage_report:
    input:
        manifests(PLAN.jobs("report")),


rule stage_publish:
    input:
        [publish_stamp(job.key).as_posix() for job in PLAN.jobs("publish")],
