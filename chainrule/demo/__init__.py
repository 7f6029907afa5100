"""The Z boson from CMS data: masses of muon pairs with their errors, and an unbinned fit of the peak.

``model`` is what a user writes: ordinary NumPy. Everything else uses it: the fits with SciPy and iminuit, the times,
the figure.
"""
