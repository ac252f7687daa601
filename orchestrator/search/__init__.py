"""The loop over recipes: budgets, space, stages, samplers, controller, report."""
