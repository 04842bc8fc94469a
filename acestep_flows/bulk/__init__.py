"""Jobs of many songs: a manifest of rows through one graph, with gates, resuming, a data set and a report.

It must never import Ray (that is `runtime/bulk`) and never look into a model: a row is a plan, and its result is audio.
Begin with `driver.run_job`, the loop over rows; then `row_work`, the work on one row, and `rows`, where rows come from.
"""
