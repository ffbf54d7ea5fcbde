"""What others look at while a run goes on: a page, Prometheus metrics, logs."""
