//! TLS with the user's own certificates: a private authority, and a client certificate.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use redlock_core::{NodeUrlError, backend::NodeUrl};
use redlock_redis_rs::{
    RedisClient, RedisNode,
    redis::{ClientTlsConfig, TlsCertificates},
};

/// The value of `--ca` that means the system's trusted authorities.
const SYSTEM: &str = "system";

/// The configured files.
#[derive(Debug, Default, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// The certificates to use for each node with a `rediss://` URL.
#[derive(Debug)]
pub(crate) struct Tls {
    certificates: TlsCertificates,
}

impl TlsFiles {
    /// Returns these files, and files from `other` that are missing here.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { ca: self.ca.or(other.ca), cert: self.cert.or(other.cert), key: self.key.or(other.key) }
    }

    /// Reads the files. Returns `None` if none is configured.
    pub(crate) fn read(self) -> Result<Option<Tls>, TlsError> {
        let client_tls = match (self.cert, self.key) {
            (None, None) if self.ca.is_none() => return Ok(None),
            (None, None) => None,
            (Some(cert), Some(key)) => Some(ClientTlsConfig { client_cert: read(&cert)?, client_key: read(&key)? }),
            (Some(_), None) => return Err(TlsError::Missing("--key")),
            (None, Some(_)) => return Err(TlsError::Missing("--cert")),
        };
        let root_cert = match self.ca {
            Some(ca) if ca == Path::new(SYSTEM) => {
                Some(read(&openssl_probe::probe().cert_file.ok_or(TlsError::NoSystem)?)?)
            }
            ca => ca.as_deref().map(read).transpose()?,
        };
        Ok(Some(Tls { certificates: TlsCertificates { client_tls, root_cert } }))
    }
}

impl Tls {
    /// Opens a node. Sends nothing.
    pub(crate) fn open(&self, url: &NodeUrl) -> Result<RedisNode, NodeUrlError> {
        let node = RedisNode::new(RedisClient::with_certificates(url, &self.certificates)?);
        Ok(node.with_connect_timeout(url.connect_timeout).with_response_timeout(url.response_timeout))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })
}

/// The certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{0} is missing: a client certificate needs both --cert and --key")]
    Missing(&'static str),
    #[error("no certificates of this system were found: set SSL_CERT_FILE, or name a file with --ca")]
    NoSystem,
    #[cfg(feature = "fred")]
    #[error("--ca, --cert and --key are not available with --client fred")]
    Client,
}
