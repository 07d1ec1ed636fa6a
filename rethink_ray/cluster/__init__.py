"""Many runs: jobs on a Ray cluster, and their results in the records."""
