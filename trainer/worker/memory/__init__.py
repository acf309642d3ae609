"""What a training needs in memory, predicted and enforced."""
