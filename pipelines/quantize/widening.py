"""What is to be said of every file whose weights are stored narrow and computed with wide."""

WIDENED = "weights are widened to float32 when the file is loaded: latency and memory are those of the float model"
