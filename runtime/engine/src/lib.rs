//! affluent-engine
