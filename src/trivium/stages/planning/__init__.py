"""What a recipe will take, told before it runs and held beside what it took.

`rehearsal` makes every place that a later stage reads, without training; `by_stage` counts what
each stage will do there, in the numbers of `forecast`; `timing` tries those passes on this machine;
`command` adds up for `trivium plan`, and `outlook` says it at both ends of a run.
"""
