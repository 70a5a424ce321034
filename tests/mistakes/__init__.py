"""What users get wrong, by the command that they give: {mistake: (command, what is said)}.

{toy} is a folder with a good problem, {wrong} one with bad files, {out} one that does not exist.
"""

from . import distill, export, labelling, predict, scripts, training

TABLES = (
    training.MISTAKES,
    labelling.MISTAKES,
    distill.MISTAKES,
    predict.MISTAKES,
    export.MISTAKES,
    scripts.MISTAKES,
)
MISTAKES = {mistake: row for table in TABLES for mistake, row in table.items()}
