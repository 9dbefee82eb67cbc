//! affluent-ledger
