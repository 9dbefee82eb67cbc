//! A store in memory that outlives the processes of a test, and fails where it is told to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use affluent_model::credential::{Claim, CredentialId, CredentialStore, KeptCredential};
use affluent_model::{Error, Result};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Where a process ends, as its successor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Between the answer of the token endpoint and the commit.
    Commit,
    /// Between the commit and the first use.
    AfterCommit,
}

struct State {
    kept: HashMap<CredentialId, (u64, Vec<u8>)>,
    claimed: HashSet<CredentialId>,
    fault: Fault,
}

pub(super) struct TestStore {
    state: Mutex<State>,
    released: Condvar,
    commits: watch::Sender<u64>,
}

impl TestStore {
    pub(super) fn new() -> Arc<Self> {
        let state = State { kept: HashMap::new(), claimed: HashSet::new(), fault: Fault::None };
        Arc::new(Self { state: Mutex::new(state), released: Condvar::new(), commits: watch::Sender::new(0) })
    }

    pub(super) fn fail_at(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// What the ledger does for holders that have ended.
    pub(super) fn forget_claims(&self) {
        self.state.lock().unwrap().claimed.clear();
    }

    pub(super) async fn committed(&self, commits: u64) {
        self.commits.subscribe().wait_for(|made| *made >= commits).await.unwrap();
    }
}

impl CredentialStore for TestStore {
    fn claim(&self, id: &CredentialId, _: i64, _: u64) -> Result<Claim> {
        let state = self.state.lock().unwrap();
        let held = |state: &mut State| state.claimed.contains(id);
        let (mut state, waited) = self.released.wait_timeout_while(state, Duration::from_secs(5), held).unwrap();
        if waited.timed_out() {
            return Ok(Claim::Busy);
        }
        state.claimed.insert(id.clone());
        let kept = state.kept.get(id);
        Ok(Claim::Granted(
            kept.map(|(version, value)| KeptCredential { version: *version, value: Zeroizing::new(value.clone()) }),
        ))
    }

    fn commit(&self, id: &CredentialId, version: u64, value: &[u8]) -> Result<bool> {
        let mut state = self.state.lock().unwrap();
        if state.fault == Fault::Commit {
            return Err(Error::external("E0703", "the disk is full"));
        }
        assert_eq!(state.kept.get(id).map_or(0, |(version, _)| *version), version);
        state.kept.insert(id.clone(), (version + 1, value.to_vec()));
        state.claimed.remove(id);
        self.released.notify_all();
        self.commits.send_modify(|made| *made += 1);
        if state.fault == Fault::AfterCommit { Err(Error::external("E0703", "killed")) } else { Ok(true) }
    }

    fn release(&self, id: &CredentialId) -> Result<()> {
        self.state.lock().unwrap().claimed.remove(id);
        self.released.notify_all();
        Ok(())
    }
}
