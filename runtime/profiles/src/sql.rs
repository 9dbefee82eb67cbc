//! Pieces of SQL text.
