"""Why and when does pre-training help? `snakemake --cores all` makes every network, table and figure."""

from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/steps.smk"


rule all:
    default_target: True
    input:
        rules.stage_publish.input,
        RUN.stamps_of(),
    localrule: True


onstart:
    tend(workflow.scheduler)
    load_torch_once()


onsuccess:
    tell_where_to_look()


onerror:
    tell_where_the_logs_are()
