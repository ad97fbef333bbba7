"""The studies: trained networks in, tidy tables out."""
