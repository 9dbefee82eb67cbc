//! affluent-profiles
