//! Every type Holdfast persists or sends
