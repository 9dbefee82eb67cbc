//! One run from first page to last acknowledgement, and the scheduler. To follow a record, read `run`, `ingest`,
//! `admit`, `unify`, `compute`, `activate`, `deliver` in that order. Nothing here knows how plugins are run, where the
//! stores keep their bytes, what a ciphertext looks like or how a terminal is written to.

mod activate;
mod admit;
mod attempts;
mod breaker;
mod compute;
mod consent;
mod consent_rows;
mod credentials;
mod decisions;
mod deliver;
mod desired;
mod engine;
mod epoch;
mod erase;
mod evidence;
mod gate;
mod ingest;
mod insights;
mod inspect;
mod mapping;
mod opener;
mod pass_through;
mod person;
mod preview;
mod purchases;
mod rehearsal;
mod row_codec;
mod rows;
mod run;
mod schedule;
mod sealer;
mod segments;
mod send;
mod streams;
mod suppress;
mod suppressed;
mod tables;
mod transforms;
mod unify;

pub use consent_rows::ConsentRow;
pub use credentials::{IsDead, SealedCredentials};
pub use decisions::{DecisionOutcome, DecisionView, Steward};
pub use engine::{Clock, Engine, Event, Observer, SilentObserver};
pub use erase::{ErasureView, PersonExport, ReceiptView, Recipient, Stay};
pub use insights::{InsightsOptions, LineOptions};
pub use inspect::{ProfileValue, ProfileView, WhyStep};
pub use person::PersonRecord;
pub use preview::{ActivationPreview, PersonalPreview, PipelinePreview, PluginSees, StreamPreview};
pub use rehearsal::{GivenRecords, Mismatch, Record, Stage};
pub use run::{RunOptions, order_of_pipelines};
pub use schedule::Scheduler;
pub use segments::{SegmentAlert, SegmentSizeNow};
pub use suppress::Suppression;
