//! The two pure cores: planner and guardian
