"""The HTTP face: routes, who may call them, problems. Logic lives below."""
