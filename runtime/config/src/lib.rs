//! Project files → an immutable [`Plan`](affluent_model::plan::Plan), or every mistake at once with file, line,
//! column and what to do. Two phases: [`load`] needs the files alone; [`check`](fn@check) needs what plugins say
//! of their streams and objects, and a planner of SQL expressions; [`check_draft`] tells the mistakes of both. It opens no network connection, runs no plugin,
//! sees no secret, and fills in every default in one place.

pub mod check;
pub mod cron;
mod file_kind;
mod links;
mod load;
pub mod lock;
mod lower;
mod mistake;
mod near;
mod node;
mod placed;
mod plain;
mod prescan;
mod raw;
mod references;
mod scalar;
mod schemas;
mod shape;
mod sources;
mod yaml;

pub use check::{Catalog, ExpressionPlanner, check, check_draft};
pub use load::{Loaded, find_root, load, read_identity, read_lock};
pub use plain::plain_yaml;
pub use references::Inputs;
pub use schemas::json_schemas;
pub use sources::Sources;
