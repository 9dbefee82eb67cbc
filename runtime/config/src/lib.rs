//! affluent-config
