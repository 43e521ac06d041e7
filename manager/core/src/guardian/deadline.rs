//! The runner's deadline: when the guard must stop everything this host runs.
