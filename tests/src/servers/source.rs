//! The choice between the three sources of servers.

use std::{env, sync::Arc};

use anyhow::{Context, Result, bail};

use super::{ServerOptions, containers::Containers, given::Given, processes::Processes, server::Server};

/// The source of this run's servers.
///
/// Cheap to clone. A [`Server`] outlives the `Servers` that started it and is removed when it is dropped, so never put
/// one in a `static`.
#[derive(Debug, Clone)]
pub struct Servers {
    source: Arc<Source>,
}

#[derive(Debug)]
enum Source {
    Containers(Containers),
    Processes(Processes),
    Given(Given),
}

impl Servers {
    /// Takes the first source that works, of containers, processes and given, or the one that `REDLOCK_TEST_SERVERS`
    /// names.
    ///
    /// | source | set by |
    /// |---|---|
    /// | `containers` | a container engine; the image by `REDLOCK_TEST_IMAGE` (`name:tag`) |
    /// | `processes` | `redis-server` or `valkey-server` on `PATH`, or `REDLOCK_TEST_SERVER_BINARY` |
    /// | `given` | `REDLOCK_TEST_URLS`, comma separated; such servers cannot be made to fail |
    ///
    /// # Errors
    ///
    /// If none works: the text contains each source's reason and what to do.
    pub async fn from_env() -> Result<Self> {
        let source = match env::var("REDLOCK_TEST_SERVERS").ok().filter(|name| !name.is_empty()).as_deref() {
            None => Source::first_that_works().await?,
            Some("containers") => Source::Containers(Containers::open().await?),
            Some("processes") => Source::Processes(Processes::open()?),
            Some("given") => Source::Given(Given::open()?),
            Some(other) => bail!("REDLOCK_TEST_SERVERS is {other:?}: use containers, processes or given"),
        };
        Ok(Self { source: Arc::new(source) })
    }

    /// Starts `count` servers at once and waits until each answers.
    ///
    /// # Errors
    ///
    /// If one does not start, with the end of its log; the others are removed again.
    pub async fn start(&self, count: usize, options: &ServerOptions) -> Result<Vec<Server>> {
        let starting: Vec<_> = (0..count)
            .map(|index| {
                let (servers, options) = (self.clone(), options.clone());
                tokio::spawn(async move { servers.start_nth(index, options).await })
            })
            .collect();
        let mut started = Vec::with_capacity(count);
        let mut failure = None;
        for server in starting {
            match server.await.context("starting a server panicked")? {
                Ok(server) => started.push(server),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => Ok(started),
            Some(error) => Err(error.context(format!("starting {count} of {}", self.describe()))),
        }
    }

    /// Starts one server.
    ///
    /// # Errors
    ///
    /// The same as [`start`](Self::start).
    pub async fn start_one(&self, options: &ServerOptions) -> Result<Server> {
        self.start_nth(0, options.clone()).await.with_context(|| format!("starting one of {}", self.describe()))
    }

    /// Returns a description of the servers, for example `containers of redis:7`.
    pub fn describe(&self) -> String {
        match &*self.source {
            Source::Containers(containers) => containers.describe(),
            Source::Processes(processes) => processes.describe(),
            Source::Given(given) => given.describe(),
        }
    }

    /// Returns whether the servers can be paused, stopped and given options. Given servers cannot.
    pub fn can_fail(&self) -> bool {
        !matches!(&*self.source, Source::Given(_))
    }

    /// Returns whether servers can be cut off from their network: containers only.
    pub fn can_cut_off(&self) -> bool {
        matches!(&*self.source, Source::Containers(_))
    }

    async fn start_nth(&self, index: usize, options: ServerOptions) -> Result<Server> {
        match &*self.source {
            Source::Containers(containers) => containers.start(options).await,
            Source::Processes(processes) => processes.start(options).await,
            Source::Given(given) => given.nth(index, &options),
        }
    }
}

impl Source {
    async fn first_that_works() -> Result<Self> {
        let no_containers = match Containers::open().await {
            Ok(containers) => return Ok(Self::Containers(containers)),
            Err(error) => error,
        };
        let no_processes = match Processes::open() {
            Ok(processes) => return Ok(Self::Processes(processes)),
            Err(error) => error,
        };
        let not_given = match Given::open() {
            Ok(given) => return Ok(Self::Given(given)),
            Err(error) => error,
        };
        bail!(
            "no Redis servers to test against; one of these is needed:\n  \
             containers: {no_containers:#}\n  processes: {no_processes:#}\n  given: {not_given:#}"
        )
    }
}
