//! Scenario runner and simulated cluster
