//! The host's side of the imported interfaces: each is a trait of `bindings` implemented on the state of an instance.
//! Services that an instance was not granted answer with a refusal; none of them panics whatever a guest passes.

pub(crate) mod crypto;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod kv;
pub(crate) mod runtime;
