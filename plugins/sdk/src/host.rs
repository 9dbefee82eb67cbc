//! The imports, from the real host in a component and from [`crate::testing`] in a native build.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::affluent::plugin::{crypto, files, http, kv, runtime};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::{crypto, files, http, kv, runtime};
