"""Why and when does pre-training help? `snakemake --cores all` makes every network, table and figure."""

from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/trajectory.smk"
include: "workflow/rules/plasticity.smk"
include: "workflow/rules/knowledge.smk"
include: "workflow/rules/invariance.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    stage_data,
    stage_check,
    stage_pretrain,
    stage_transfer,
    stage_trajectory,
    stage_plasticity,
    stage_values,
    stage_knowledge,
    stage_inversions,
    stage_invariance,
    stage_tables,
    stage_claims,
    stage_figures,
    stage_report,
    stage_publish,


rule all:
    default_target: True
    input:
        rules.stage_data.input,
        rules.stage_check.input,
        rules.stage_pretrain.input,
        rules.stage_transfer.input,
        rules.stage_trajectory.input,
        rules.stage_plasticity.input,
        rules.stage_values.input,
        rules.stage_knowledge.input,
        rules.stage_inversions.input,
        rules.stage_invariance.input,
        rules.stage_tables.input,
        rules.stage_claims.input,
        rules.stage_figures.input,
        rules.stage_report.input,
        rules.stage_publish.input,


onstart:
    load_torch_once()


onsuccess:
    say_where_to_look()


onerror:
    say_where_the_logs_are()
