"""The three studies: trained networks in, tidy tables out."""
