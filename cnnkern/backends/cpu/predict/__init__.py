"""What a native call must execute, from its shape and plan alone."""


def predict(calls, isa, width):
    return None
