//! What holds for any base of customers: the whole engine on real stores, whose sources play generated records and whose
//! destinations remember what they were sent. Persons of one case are independent of those of all others, so that many share
//! a base: what costs is a run, not a record.

mod cases;
mod decisions;
mod erasure;
mod feed;
mod grants;
mod memberships;
mod mirrors;
mod people;
mod touched;
mod world;
