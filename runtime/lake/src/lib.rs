//! affluent-lake
