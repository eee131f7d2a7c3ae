//! Reads the URLs of a fleet from the environment, as the command line does too.

use std::{env, ffi::OsString};

use super::{NodeUrl, error::FromEnvError};

impl NodeUrl {
    /// Reads the URLs of a fleet from the environment variable `REDLOCK_NODES`, and splits it at commas and white space
    /// like [`NodeUrl::split`]. Quotes around the list are ignored: Docker keeps them when it reads an env file.
    ///
    /// # Errors
    ///
    /// If the variable is not set or empty, is not UTF-8, or a URL in it cannot be used.
    pub fn from_env() -> Result<Vec<Self>, FromEnvError> {
        Self::from_variable(env::var_os("REDLOCK_NODES"))
    }

    fn from_variable(list: Option<OsString>) -> Result<Vec<Self>, FromEnvError> {
        let list = list.ok_or(FromEnvError::NotSet)?;
        let urls = Self::split(unquoted(list.to_str().ok_or(FromEnvError::NotText)?));
        if urls.is_empty() {
            return Err(FromEnvError::NotSet);
        }
        Ok(Self::parse_all(urls)?)
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let within = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &str) -> Result<usize, FromEnvError> {
        NodeUrl::from_variable(Some(list.into())).map(|urls| urls.len())
    }

    #[test]
    fn a_list_may_be_quoted_and_split_at_commas_and_white_space() {
        for list in
            ["redis://a,redis://b", "\"redis://a, redis://b\"", " 'redis://a\nredis://b' ", "redis://a redis://b,"]
        {
            assert_eq!(hosts(list), Ok(2), "{list:?}");
        }
    }

    #[test]
    fn a_variable_without_urls_counts_as_not_set() {
        assert_eq!(NodeUrl::from_variable(None), Err(FromEnvError::NotSet));
        for list in ["", "  ", "''", ","] {
            assert_eq!(hosts(list), Err(FromEnvError::NotSet), "{list:?}");
        }
    }

    #[test]
    fn a_bad_url_is_an_error_without_its_password() {
        let error = hosts("redis://a,http://:hunter2@b").unwrap_err().to_string();
        assert!(error.starts_with("REDLOCK_NODES: ") && !error.contains("hunter2"), "{error}");
        assert!(matches!(hosts("redis://a redis://a"), Err(FromEnvError::Url(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf_8_is_an_error() {
        let bytes = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        assert_eq!(NodeUrl::from_variable(Some(bytes)), Err(FromEnvError::NotText));
    }
}
