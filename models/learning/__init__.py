"""The learning loop: labels → an updated candidate → challenger in shadow → a decision, and the way back."""
