"""testing.course: the checks of the exercises in notebooks/, a module per notebook.

A check claims properties of what the learner's cell made (a trace, the console of a domain, a number that was typed) and
shows an `Attempt`: the story up to the first claim that does not hold, and never the answer.  The notebook's cell with the tag
`exercise-1` is a starting point with the check in its last line; tests/solutions has, for each, an answer and a plausible
mistake, and tests/house/test_exercises.py runs the notebook with its starting points, with the answers, with the mistakes.
"""
