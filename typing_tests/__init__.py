"""What a site's type checker infers and refuses: mypy reads these modules, nothing runs them.

A line that has to be refused carries `type: ignore` with the code of the error. mypy fails on one
that ignores nothing, so each of them proves that there is an error.
"""
