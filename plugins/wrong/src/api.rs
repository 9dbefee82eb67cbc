//! The service: `GET /items?cursor=N&limit=M`, `POST /items` with rows and `DELETE /items` with keys.

use affluent_sdk::http::{self, Request};

use crate::Config;

#[derive(Debug, Clone)]
pub(crate) struct Api {
    base_url: String,
}

impl Api {
    pub(crate) fn new(config: &Config) -> Self {
        Self { base_url: config.base_url.trim_end_matches('/').to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        http::get(format!("{}{path}", self.base_url)).auth("token")
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        http::post(format!("{}{path}", self.base_url)).auth("token")
    }
}
