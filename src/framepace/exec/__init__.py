"""The package that held the backends, for plug-ins written against it. See `framepace.exec.backend`."""
