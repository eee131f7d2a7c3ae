//! The configuration file.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use redlock_core::Owner;
use serde::{Deserialize, Deserializer, de::Error as _};

/// The contents of a configuration file. Missing values have the defaults of the command line.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) nodes: Vec<String>,
    pub(crate) key_prefix: Option<String>,
    /// The certificates for `rediss://` URLs, like the options of the command line with these names.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    #[serde(deserialize_with = "time")]
    pub(crate) node_timeout: Option<Duration>,
    #[serde(deserialize_with = "label")]
    pub(crate) owner: Option<Owner>,
    /// The longest TTL in use, if all programs use the nodes with the restart guard.
    #[serde(deserialize_with = "time")]
    pub(crate) restart_guard: Option<Duration>,
}

impl Config {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let cannot = |error| ConfigError::Read { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(cannot)?;
        let data = file.metadata().map_err(cannot)?;
        // Another user could name other nodes, and run the command on all hosts at the same time.
        if data.is_file() && data.permissions().mode() & 0o022 != 0 {
            return Err(ConfigError::Writable { path: path.to_owned() });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(cannot)?;
        Self::parse(&text).map_err(|what| ConfigError::Malformed { path: path.to_owned(), what })
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            // Its own text would show the line and the unexpected value: both may contain a password.
            let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let message = error.message().lines().next().unwrap_or_default();
            match message.rsplit_once(", expected ") {
                Some((found, expected)) if found.starts_with("invalid ") => format!("{line}expected {expected}"),
                _ => format!("{line}{message}"),
            }
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs may contain passwords.
        f.debug_struct("Config").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// Returns whether users other than the owner and the group may read the file.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = humantime::parse_duration(&text);
    time.map(Some).map_err(|_| D::Error::custom("not a time: use a number with a unit, for example \"200ms\""))
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Owner>, D::Error> {
    Owner::new(String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

/// A configuration file that cannot be used. The error contains nothing of the file's text except the name of a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("other users can write the configuration file {}: chmod go-w it", .path.display())]
    Writable { path: PathBuf },
    #[error("the configuration file {}: {what}", .path.display())]
    Malformed { path: PathBuf, what: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_say_everything_or_nothing() {
        let config = Config::parse(
            "nodes = [\"redis://a\", \"redis://b\"]\nkey_prefix = \"lock:\"\nnode_timeout = \"200ms\"\n\
             owner = \"billing\"\nrestart_guard = \"1m\"\n",
        )
        .unwrap();
        assert_eq!(config.nodes, ["redis://a", "redis://b"]);
        assert_eq!(
            (config.key_prefix.as_deref(), config.node_timeout),
            (Some("lock:"), Some(Duration::from_millis(200)))
        );
        assert_eq!((config.owner.unwrap().as_str(), config.restart_guard), ("billing", Some(Duration::from_secs(60))));
        let empty = Config::parse("").unwrap();
        assert!(empty.nodes.is_empty() && empty.owner.is_none() && empty.restart_guard.is_none());
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_without_the_line_s_text() {
        for (text, line, what) in [
            ("nodes = [\"redis://a\"]\nnods = [\"redis://:hunter2@a\"]\n", "line 2: ", "unknown field `nods`"),
            ("nodes = \"redis://:hunter2@a\"\n", "line 1: ", "expected a sequence"),
            ("\nnodes = [\"redis://:hunter2@a\"", "line 2: ", ""),
            ("node_timeout = \"hunter2\"", "line 1: ", "use a number with a unit"),
            ("owner = \"\"", "line 1: ", "label is empty"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.starts_with(line) && error.contains(what), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let config = Config::parse("nodes = [\"redis://:hunter2@a\"]").unwrap();
        assert_eq!(format!("{config:?}"), "Config { nodes: 1, .. }");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::read(Path::new("/nowhere/redlock.toml")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the configuration file /nowhere/redlock.toml: "), "{error}");
    }
}
