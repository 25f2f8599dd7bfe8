"""The six expressions of the paper, in the order of their numbers. Alone in a file, so that what
makes data sets need not load the networks."""

EXPRESSIONS = ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')
NUM_LABELS = len(EXPRESSIONS)
# Of an expression: 0 is the still face, 1 the usual strength, and beyond this nothing was trained.
MAX_INTENSITY = 1.2
