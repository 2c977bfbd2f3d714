"""The mobile pipeline: programs, bundles, the runtime learner and the command line."""
