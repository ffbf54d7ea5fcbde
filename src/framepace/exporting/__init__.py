"""Plans for other servers: what of a plan can be expressed there is written, what cannot is said."""
