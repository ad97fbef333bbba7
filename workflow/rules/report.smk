"""Tables, figures, and the copies that a person opens."""


rule tables:
    input:
        pretrain=ancient(needs(PLAN, "pretrain")),
        transfer=ancient(needs(PLAN, "transfer")),
        plasticity=ancient(needs(PLAN, "plasticity")),
        knowledge=ancient(needs(PLAN, "knowledge")),
    output:
        "results/tables/{study}-{key}/manifest.json",
    log:
        "logs/tables/{study}-{key}.log",
    params:
        headstart=HEADSTART,
        snapshot=SNAPSHOT,
    shell:
        "{params.headstart} tables {wildcards.key} --params {params.snapshot:q} --log {log:q}"


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


rule publish:
    input:
        figures=ancient(needs(PLAN, "figures")),
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


rule stage_figures:
    input:
        manifests(PLAN.jobs("figures")),
        [publish_stamp(job.key).as_posix() for job in PLAN.jobs("publish")],
