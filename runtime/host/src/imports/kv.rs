//! `kv`: the small durable store of a plugin, private to its pipeline and connection.

use crate::bindings::affluent::plugin::kv::Host;
use crate::limits::{KV_KEY_BYTES_MAX, KV_PUTS_MAX, KV_VALUE_BYTES_MAX};
use crate::options::{LogEvent, LogLevel};
use crate::state::State;

impl State {
    fn owner(&self) -> String {
        format!("{}/{}", self.services.connection_name, self.services.plugin)
    }

    /// The interface has no error for reading and deleting: the log has it.
    fn report(&self, error: &affluent_model::Error) {
        let text = format!("the plugin's store failed: {error}");
        self.services.caller().log(LogLevel::Error, LogEvent::Host { text });
    }
}

impl Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        if key.len() > KV_KEY_BYTES_MAX {
            return Ok(None);
        }
        let value = self.services.options.key_value.get(&self.services.pipeline, &self.owner(), &key);
        Ok(value.unwrap_or_else(|error| {
            self.report(&error);
            None
        }))
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        if key.is_empty() || key.len() > KV_KEY_BYTES_MAX || value.len() > KV_VALUE_BYTES_MAX {
            return Ok(Err("a key has 1 to 256 bytes, a value at most 64 KiB".to_owned()));
        }
        if !self.time.count_put(KV_PUTS_MAX) {
            return Ok(Err("more than 1,000 values put in one call".to_owned()));
        }
        let put = self.services.options.key_value.put(&self.services.pipeline, &self.owner(), &key, &value);
        Ok(put.map_err(|error| error.message))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        if key.len() <= KV_KEY_BYTES_MAX
            && let Err(error) = self.services.options.key_value.delete(&self.services.pipeline, &self.owner(), &key)
        {
            self.report(&error);
        }
        Ok(())
    }
}
