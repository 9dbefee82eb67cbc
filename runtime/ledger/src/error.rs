//! The errors of the ledger: which failure of the store means what to the person who must act. One page per code.

