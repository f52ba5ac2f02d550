"""What runs a function: zygote, workers, dispatcher, batcher."""
