//! Servers that somebody else runs, given by URL.

use std::env;

use anyhow::{Context, Result, bail, ensure};

use super::{
    ServerOptions,
    reply::Address,
    server::{Running, Server, Settings},
};

/// The servers of `REDLOCK_TEST_URLS`. Only keys that a test sets itself are deleted there.
#[derive(Debug)]
pub(super) struct Given {
    addresses: Vec<Address>,
}

impl Given {
    pub(super) fn open() -> Result<Self> {
        let urls = env::var("REDLOCK_TEST_URLS").unwrap_or_default();
        let addresses = urls
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(|url| url.parse::<Address>().context("REDLOCK_TEST_URLS"))
            .collect::<Result<Vec<_>>>()?;
        ensure!(
            !addresses.is_empty(),
            "REDLOCK_TEST_URLS is not set: list empty test servers, redis://10.0.0.1:6379,redis://10.0.0.2:6379,..."
        );
        Ok(Self { addresses })
    }

    pub(super) fn describe(&self) -> String {
        format!("{} given servers", self.addresses.len())
    }

    pub(super) fn nth(&self, index: usize, options: &ServerOptions) -> Result<Server> {
        if !options.is_default() {
            bail!("servers that were given cannot be started with options of a test's own: {options:?}");
        }
        let have = self.addresses.len();
        let address = self
            .addresses
            .get(index)
            .with_context(|| format!("REDLOCK_TEST_URLS lists {have}, and a test needs at least {}", index + 1))?
            .clone();
        let settings = Settings { options: options.clone(), folder: None, port: None, spare_port: None };
        Ok(Server { running: Running::Given, settings, address })
    }
}
