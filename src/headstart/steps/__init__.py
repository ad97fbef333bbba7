"""Steps that every study needs: data, checks, networks, tables, claims, figures, report."""
