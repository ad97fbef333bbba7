"""What looks after params files and results, beside the study itself."""
