//! affluent-host
