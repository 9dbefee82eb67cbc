//! The contract of a ledger as rules. All but `bulk` and `sqlite_file` speak to `&dyn Ledger` only, so that another implementation
//! runs the same rules by changing `harness::Store`.

#[cfg(test)]
mod bulk;
#[cfg(test)]
mod computed;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod erasures;
#[cfg(test)]
mod graph;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod ingest;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod levels;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod outbox_story;
#[cfg(test)]
mod records;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod sqlite_file;
#[cfg(test)]
mod webhooks;
