"""The limit of small weight decay in regression, on the manifold of interpolators."""
