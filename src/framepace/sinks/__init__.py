"""Where results go: files, standard output, brokers, video, functions; each behind a bounded queue."""
