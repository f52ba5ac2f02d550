"""What is warm, where and when."""
