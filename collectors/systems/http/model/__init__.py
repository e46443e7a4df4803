"""What services answer means, and the options that say what is expected of them."""
