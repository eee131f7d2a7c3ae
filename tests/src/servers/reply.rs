//! Commands sent by hand, so that tests can inspect a server without the clients under test.

use std::{io::ErrorKind, str::FromStr, time::Duration};

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::timeout,
};
use url::Url;

/// An answer of a server (RESP2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR ...`; [`Server::command`](super::Server::command) turns it into an error.
    Error(String),
    /// `:1`
    Integer(i64),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Several replies.
    Array(Vec<Self>),
    /// No value: an absent key, or a condition that is not met.
    Nil,
}

impl Reply {
    /// Returns the text of a simple or bulk string, and `None` for everything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Error(_) | Self::Integer(_) | Self::Array(_) | Self::Nil => None,
        }
    }

    /// Returns the number of an integer reply, and `None` for everything else.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Simple(_) | Self::Error(_) | Self::Bulk(_) | Self::Array(_) | Self::Nil => None,
        }
    }

    /// Returns whether the server answered with no value.
    pub fn is_nil(&self) -> bool {
        *self == Self::Nil
    }
}

/// The address of a server, and the commands to send before the first one.
#[derive(Clone)]
pub(super) struct Address {
    url: String,
    pub(super) host: String,
    pub(super) port: u16,
    greeting: Vec<Vec<String>>,
}

impl Address {
    pub(super) fn local(port: u16) -> Self {
        Self { url: format!("redis://127.0.0.1:{port}"), host: "127.0.0.1".to_owned(), port, greeting: Vec::new() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn send(&self, patience: Duration, args: &[&str]) -> Result<Reply> {
        let conversation = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let (read, mut write) = stream.into_split();
            let mut read = BufReader::new(read);
            for words in &self.greeting {
                write.write_all(&encode(words)).await?;
                if let Reply::Error(text) = receive(&mut read).await? {
                    bail!("{text}");
                }
            }
            write.write_all(&encode(args)).await?;
            receive(&mut read).await
        };
        timeout(patience, conversation).await.with_context(|| format!("no answer within {patience:?}"))?
    }
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let url = Url::parse(text).context("not a URL")?;
        if url.scheme() != "redis" {
            bail!("the scheme {} is not redis", url.scheme());
        }
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let mut greeting = Vec::new();
        if let Some(password) = url.password() {
            let mut auth = vec!["AUTH".to_owned()];
            auth.extend(Some(decode(url.username())).filter(|user| !user.is_empty()));
            auth.push(decode(password));
            greeting.push(auth);
        }
        let database = url.path().trim_matches('/');
        if !database.is_empty() {
            greeting.push(vec!["SELECT".to_owned(), database.to_owned()]);
        }
        let host = url.host_str().context("a URL without a host")?.trim_matches(['[', ']']).to_owned();
        Ok(Self { url: text.to_owned(), host, port: url.port().unwrap_or(6379), greeting })
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn encode<S: AsRef<str>>(words: &[S]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

async fn receive(read: &mut BufReader<OwnedReadHalf>) -> Result<Reply> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        return Err(std::io::Error::from(ErrorKind::UnexpectedEof)).context("the server closed the connection");
    }
    let line = line.trim_end_matches("\r\n");
    let (kind, rest) = line.split_at_checked(1).with_context(|| format!("not a reply: {line:?}"))?;
    let length = || rest.parse::<i64>().with_context(|| format!("not a length: {line:?}"));
    Ok(match kind {
        "+" => Reply::Simple(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Integer(length()?),
        "$" | "*" if length()? < 0 => Reply::Nil,
        "$" => {
            let mut bytes = vec![0; usize::try_from(length()?)? + 2];
            read.read_exact(&mut bytes).await?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bulk(bytes)
        }
        "*" => {
            let mut replies = Vec::new();
            for _ in 0..length()? {
                replies.push(Box::pin(receive(read)).await?);
            }
            Reply::Array(replies)
        }
        _ => bail!("not a reply: {line:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_password_and_database() {
        let address: Address = "redis://me:s%40cret@db.example/3".parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db.example", 6379));
        assert_eq!(address.greeting, [vec!["AUTH", "me", "s@cret"], vec!["SELECT", "3"]]);
        assert_eq!(format!("{address:?}"), "db.example:6379");
    }
}
