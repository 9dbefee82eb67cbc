//! What people see. Results go to stdout, talk to stderr.

pub(crate) mod contract;
pub(crate) mod diagnostics;
pub(crate) mod plugin;
pub(crate) mod profile;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod screen;
