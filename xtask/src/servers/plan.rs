//! Selects the servers for a run of the tests, and passes them to the tests.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    engine::Engine,
    flavour::{FLAVOURS, Flavour},
};
use crate::command::output;

/// The servers of a run.
#[derive(Debug)]
pub(crate) enum Plan {
    /// These servers; the first one runs all tests.
    Flavours(Vec<&'static Flavour>),
    /// Only the servers that the environment names.
    Set(Named),
}

/// Servers that the environment names.
#[derive(Debug)]
pub(crate) enum Named {
    Image(String),
    Binary(String),
    Given,
}

impl Plan {
    /// Returns what the command line selects, otherwise what the environment names, otherwise all servers.
    pub(crate) fn from_env(wanted: &[&'static Flavour]) -> Result<Self> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let named = match set("REDLOCK_TEST_SERVERS").as_deref() {
            Some("given") => {
                ensure!(
                    set("REDLOCK_TEST_URLS").is_some(),
                    "REDLOCK_TEST_SERVERS is given: set REDLOCK_TEST_URLS=redis://10.0.0.1:6379,redis://10.0.0.2:6379,..."
                );
                Some(Named::Given)
            }
            Some("processes") => set("REDLOCK_TEST_SERVER_BINARY").map(Named::Binary),
            Some("containers") | None => set("REDLOCK_TEST_IMAGE").map(Named::Image),
            Some(other) => bail!("REDLOCK_TEST_SERVERS is {other:?}: use containers, processes or given"),
        };
        match named {
            Some(named) => {
                ensure!(wanted.is_empty(), "--flavour is set, and the environment names {named}: use only one of them");
                Ok(Self::Set(named))
            }
            None if wanted.is_empty() => Ok(Self::Flavours(FLAVOURS.iter().collect())),
            None => Ok(Self::Flavours(wanted.to_vec())),
        }
    }

    /// Returns the flavors other than the default one.
    pub(crate) fn others(&self) -> Vec<&'static Flavour> {
        match self {
            Self::Flavours(flavours) => flavours.iter().copied().skip(1).collect(),
            Self::Set(_) => Vec::new(),
        }
    }
}

impl Named {
    /// Checks that the image or the binary exists, before each test finds out by itself.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Image(image) => {
                let engine = Engine::find().context("no container engine answers: install and start Docker")?;
                if !engine.has(image) {
                    engine.pull(image).with_context(|| format!("REDLOCK_TEST_IMAGE is {image}, which is not here"))?;
                }
            }
            Self::Binary(binary) => {
                let words: Vec<_> =
                    if Path::new(binary).is_file() { vec![&**binary] } else { binary.split(' ').collect() };
                let (program, args) = words.split_first().context("REDLOCK_TEST_SERVER_BINARY is empty")?;
                output(Command::new(program).args(args).arg("--version")).context("REDLOCK_TEST_SERVER_BINARY")?;
            }
            Self::Given => {}
        }
        Ok(())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => write!(f, "containers of {image}"),
            Self::Binary(binary) => write!(f, "processes of {binary}"),
            Self::Given => f.write_str("the servers of REDLOCK_TEST_URLS"),
        }
    }
}

/// A server that the tests can start.
#[derive(Debug)]
pub(crate) enum Obtained {
    Image(String),
    Binary(PathBuf),
}

impl Obtained {
    pub(crate) fn environment(&self) -> Environment {
        Environment(match self {
            Self::Image(image) => {
                vec![("REDLOCK_TEST_SERVERS", "containers".to_owned()), ("REDLOCK_TEST_IMAGE", image.clone())]
            }
            Self::Binary(binary) => vec![
                ("REDLOCK_TEST_SERVERS", "processes".to_owned()),
                ("REDLOCK_TEST_SERVER_BINARY", binary.display().to_string()),
            ],
        })
    }
}

impl fmt::Display for Obtained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => write!(f, "image {image}"),
            Self::Binary(binary) => write!(f, "binary {}", binary.display()),
        }
    }
}

/// The environment variables that name the servers for the tests. Empty: those that are set already.
#[derive(Debug, Default)]
pub(crate) struct Environment(Vec<(&'static str, String)>);

impl Environment {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}
