"""Videos in: decoding, frame sampling, preprocessing, lists of labeled clips, and the embedded data set."""
