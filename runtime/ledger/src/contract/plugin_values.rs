//! The small key-value store that a plugin has per pipeline: tokens of pages, lists it made. Not for records.

use affluent_model::Result;

pub trait PluginValues {
    /// A value of a plugin in a pipeline.
    ///
    /// # Errors
    /// Those of the store.
    fn plugin_value(&self, pipeline: &str, plugin: &str, key: &str) -> Result<Option<Vec<u8>>>;

    /// Stores a value, replacing the one before.
    ///
    /// # Errors
    /// `E0708` when the key is over 256 bytes, the value over 64 KiB, or all of the plugin's values in the pipeline are over 1 MiB.
    fn put_plugin_value(&self, pipeline: &str, plugin: &str, key: &str, value: &[u8]) -> Result<()>;

    /// Removes a value; one that is not there is no error.
    ///
    /// # Errors
    /// Those of the store.
    fn delete_plugin_value(&self, pipeline: &str, plugin: &str, key: &str) -> Result<()>;
}
