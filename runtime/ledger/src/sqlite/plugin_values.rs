//! Values of plugins. A plugin cannot fill the disk: keys, values and their sum have limits.

use affluent_model::Result;
use rusqlite::{OptionalExtension, params};

use super::SqliteLedger;
use crate::contract::plugin_values::PluginValues;
use crate::error::check_bytes;

/// Bytes of a key: an id of a remote system with a prefix.
const KEY_BYTES_MAX: usize = 256;
/// Bytes of a value: as much as a state.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of all keys and values of a plugin in a pipeline.
const ALL_BYTES_MAX: usize = 1 << 20;

impl PluginValues for SqliteLedger {
    fn plugin_value(&self, pipeline: &str, plugin: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(|connection| {
            let sql = "SELECT value FROM plugin_value WHERE pipeline = ?1 AND plugin = ?2 AND key = ?3";
            Ok(connection.prepare_cached(sql)?.query_row([pipeline, plugin, key], |row| row.get(0)).optional()?)
        })
    }

    fn put_plugin_value(&self, pipeline: &str, plugin: &str, key: &str, value: &[u8]) -> Result<()> {
        check_bytes(&format!("a key of plugin `{plugin}`"), key.len(), KEY_BYTES_MAX)?;
        check_bytes(&format!("a value of plugin `{plugin}`"), value.len(), VALUE_BYTES_MAX)?;
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO plugin_value (pipeline, plugin, key, value) VALUES (?1, ?2, ?3, ?4)";
            transaction.prepare_cached(sql)?.execute(params![pipeline, plugin, key, value])?;
            let sql =
                "SELECT sum(length(CAST(key AS BLOB)) + length(value)) FROM plugin_value WHERE pipeline = ?1 AND plugin = ?2";
            let bytes: i64 = transaction.prepare_cached(sql)?.query_row([pipeline, plugin], |row| row.get(0))?;
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Ok(check_bytes(&format!("all values of plugin `{plugin}`"), bytes, ALL_BYTES_MAX)?)
        })
    }

    fn delete_plugin_value(&self, pipeline: &str, plugin: &str, key: &str) -> Result<()> {
        self.write(|transaction| {
            let sql = "DELETE FROM plugin_value WHERE pipeline = ?1 AND plugin = ?2 AND key = ?3";
            transaction.prepare_cached(sql)?.execute([pipeline, plugin, key])?;
            Ok(())
        })
    }
}
