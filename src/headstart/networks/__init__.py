"""Networks: a backbone from images to features and a head; small ones, timm's, the user's."""
