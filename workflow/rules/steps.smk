"""One rule for every step: what a job reads, the plan says; what it asks of a machine, the step."""


wildcard_constraints:
    key="[0-9a-f]{12}",
    name="[a-z0-9_-]+",


for _step in STEPS.values():

    rule:
        name:
            _step.name
        input:
            after=ancient(comes_after(PLAN)),
            reads=ancient(needs(PLAN)),
        output:
            snakemake_output(_step.name),
        log:
            log_of(_step.name),
        priority: _step.priority
        retries: _step.retries
        resources:
            gpu=GPU if _step.gpu else 0,
            mem_mb=_step.memory_mb,
            runtime=_step.minutes,
        params:
            command=f"{HEADSTART} {_step.command}",
            snapshot=SNAPSHOT,
        shell:
            "{params.command} {wildcards.key} --params {params.snapshot:q} --log {log:q}"

    rule:
        name:
            f"stage_{_step.name}"
        input:
            outputs_of(_step.name),
        localrule: True
