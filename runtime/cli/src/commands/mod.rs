//! One file per command: parse, call, render.

pub(crate) mod assess;
pub(crate) mod connection;
pub(crate) mod dead_letters;
pub(crate) mod decide;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod insights;
pub(crate) mod keys;
pub(crate) mod plan;
pub(crate) mod plugin;
pub(crate) mod profile;
pub(crate) mod requests;
pub(crate) mod resolve;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod segment;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod validate;
