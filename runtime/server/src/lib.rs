//! affluent-server
