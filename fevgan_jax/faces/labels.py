"""The six expressions of the paper, in the order of their numbers. Alone in a file, so that what
makes data sets need not load the networks."""

EXPRESSIONS = ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')
NUM_LABELS = len(EXPRESSIONS)
