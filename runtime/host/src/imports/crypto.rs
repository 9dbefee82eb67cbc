//! `crypto`: HMAC under secrets that the guest knows by name only.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::bindings::affluent::plugin::crypto::Host;
use crate::failure::clean_code;
use crate::state::State;

impl State {
    fn keyed(&self, name: &str, data: &[u8]) -> Result<Hmac<Sha256>, String> {
        let name = clean_code(name);
        let Some(secrets) = &self.services.secrets else { return Err("this plugin has no secrets".to_owned()) };
        let secret = secrets.get(&name).map_err(|error| error.message)?;
        let Some(secret) = secret else {
            self.services.caller().audit("secret", &name, "the manifest does not name it");
            return Err(format!("secret `{name}` is not in the manifest"));
        };
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes());
        let mut mac = mac.map_err(|_| "the secret cannot be a key".to_owned())?;
        mac.update(data);
        Ok(mac)
    }
}

impl Host for State {
    fn hmac_sha256(&mut self, secret: String, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, String>> {
        Ok(self.keyed(&secret, &data).map(|mac| mac.finalize().into_bytes().to_vec()))
    }

    fn verify_hmac_sha256(&mut self, secret: String, data: Vec<u8>, mac: Vec<u8>) -> wasmtime::Result<Result<bool, String>> {
        Ok(self.keyed(&secret, &data).map(|computed| computed.verify_slice(&mac).is_ok()))
    }
}
