//! What people see. Results go to stdout, talk to stderr.

pub(crate) mod assess;
pub(crate) mod assess_page;
pub(crate) mod connection;
pub(crate) mod contract;
pub(crate) mod decisions;
pub(crate) mod diagnostics;
pub(crate) mod insights;
pub(crate) mod insights_page;
pub(crate) mod page;
pub(crate) mod plugin;
pub(crate) mod profile;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod requests;
pub(crate) mod resolve;
pub(crate) mod rules_diff;
pub(crate) mod screen;
