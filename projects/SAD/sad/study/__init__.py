"""The paper's tables, run and judged. Users need none of it."""
