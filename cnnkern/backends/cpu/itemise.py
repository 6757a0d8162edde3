"""theory - executed, itemised."""


def itemise(step, executed):
    return {}
