"""How we see ourselves: gauges, journal, health. Not what users chart: that is `engine`."""
