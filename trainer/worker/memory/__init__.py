"""How much memory a training needs: prediction and enforcement."""
