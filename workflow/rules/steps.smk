"""One rule for every step: what a job waits for, the store says; what it asks of a machine, the step."""


wildcard_constraints:
    key="[0-9a-f]{12}",
    name="[a-z0-9_-]+",


for _step in STEPS.values():
    if _step.name != "publish":

        rule:
            name:
                _step.name
            input:
                ancient(RUN.needs),
            output:
                touch(f"{STAMPS}/{_step.name}/{{name}}-{{key}}"),
            log:
                f"logs/{_step.name}/{{name}}-{{key}}.log",
            priority: _step.priority
            retries: _step.retries
            resources:
                gpu=GPU if _step.gpu else 0,
                mem_mb=_step.memory_mb,
                runtime=_step.minutes,
            params:
                command=f"{HEADSTART} {_step.command}",
                source=(
                    f"--plan {RUN.file} --params {RUN.snapshot}"
                    if _step.versioned
                    else f"--params {RUN.snapshot}"
                ),
            shell:
                "{params.command} {wildcards.key} {params.source}" + LOG

        rule:
            name:
                f"stage_{_step.name}"
            input:
                PERMANENT,
                RUN.stamps_of(_step.name),
            localrule: True


# What a person reads: copies of artifacts, which nothing is lost by making again.
rule publish:
    input:
        PERMANENT,
        ancient(RUN.publish_needs()),
    output:
        report(
            "report.html",
            category="The whole page",
            caption="../report/study.rst",
            labels={"figure": "Verdicts, claims, figures, data, what ran"},
        ),
        "claims.json",
        "metrics.json",
        f"figures/.{RUN.publish_key}",
        [report(**picture) for picture in (RUN.pictures() if REPORTS else [])],
    log:
        f"logs/publish/{RUN.publish_key}.log",
    localrule: True
    params:
        command=f"{HEADSTART} publish {RUN.publish_key}",
        snapshot=RUN.snapshot,
    shell:
        "{params.command} --params {params.snapshot:q}" + LOG


rule stage_publish:
    input:
        rules.publish.output,
    localrule: True
