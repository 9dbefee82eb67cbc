//! Where secrets come from: `{ secret: shop/token }` is the file `secrets/shop/token` of the project (mode 0600) or the
//! variable `AFFLUENT_SECRET_SHOP_TOKEN`; `{ env: NAME }` is that variable. Values go to the host and nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use affluent_host::Secret;
use affluent_model::plan::{Connection, SecretReference};
use affluent_model::{Error, Result};

/// Reads the secret that a connection gives for a name of the plugin's manifest.
pub(crate) fn resolve(root: &Path, connection: &Connection, name: &str) -> Result<Secret> {
    let reference = connection.secrets.get(name).ok_or_else(|| {
        Error::configuration("E0819", format!("connection `{}` gives no secret `{name}`", connection.name))
            .help(format!("add `secrets: {{ {name}: {{ secret: {}/{name} }} }}` to the connection", connection.name))
    })?;
    match reference {
        SecretReference::Environment(variable) => from_environment(variable),
        SecretReference::Secret(path) => {
            let variable = format!("AFFLUENT_SECRET_{}", path.to_uppercase().replace(['/', '-', '.'], "_"));
            if let Ok(secret) = from_environment(&variable) {
                return Ok(secret);
            }
            from_file(root, path, &variable)
        }
    }
}

fn from_environment(variable: &str) -> Result<Secret> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => Ok(Secret::new(value)),
        _ => Err(Error::configuration("E0819", format!("the variable `{variable}` is not set")).help("set it, and run again")),
    }
}

fn from_file(root: &Path, name: &str, variable: &str) -> Result<Secret> {
    let is_plain = name.split('/').all(|part| !part.is_empty() && part != ".." && part != ".");
    let path = root.join("secrets").join(name);
    let missing = || {
        Error::configuration("E0819", format!("the secret `{name}` is nowhere to be found"))
            .help(format!("write it to secrets/{name} (mode 0600) or set {variable}"))
    };
    if !is_plain {
        return Err(missing());
    }
    let metadata = fs::metadata(&path).map_err(|_| missing())?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Error::configuration("E0819", format!("secrets/{name} can be read by others"))
            .help(format!("chmod 600 secrets/{name}")));
    }
    let value = fs::read_to_string(&path).map_err(|_| missing())?;
    Ok(Secret::new(value.trim_end_matches(['\n', '\r']).to_owned()))
}
