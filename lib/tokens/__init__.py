"""From text to whole numbers and back."""
