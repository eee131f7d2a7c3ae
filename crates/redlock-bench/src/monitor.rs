//! Counts what clients send to a server, separately from what their scripts do there.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

/// A stream in which a server reports each command that it receives.
pub(crate) struct Monitor(TcpStream);

impl Monitor {
    pub(crate) async fn begin(host: &str, port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(b"MONITOR\r\n").await?;
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).await?;
        ensure!(&ok == b"+OK\r\n", "the server does not monitor");
        Ok(Self(stream))
    }

    /// Returns how many requests clients have sent since, and how many commands were executed for them, including those
    /// within scripts.
    pub(crate) async fn heard(self) -> Result<(usize, usize)> {
        let mut lines = BufReader::new(self.0).split(b'\n');
        let (mut requests, mut commands) = (0, 0);
        // The last reports are still on their way: a pause is the end.
        while let Ok(Ok(Some(line))) = timeout(Duration::from_millis(150), lines.next_segment()).await {
            commands += 1;
            requests += usize::from(is_request(&String::from_utf8_lossy(&line)));
        }
        Ok((requests, commands))
    }
}

/// `+1700000000.000000 [0 127.0.0.1:5000] "SET" ...`, and within scripts `[0 lua]`.
fn is_request(line: &str) -> bool {
    line.starts_with('+') && line.contains(" [") && !line.contains(" lua] ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_within_a_script_are_no_requests() {
        assert!(is_request("+1700000000.1 [0 127.0.0.1:5000] \"EVALSHA\" \"abc\" \"1\" \"r\" \"t\"\r"));
        assert!(!is_request("+1700000000.2 [0 lua] \"GET\" \"r\"\r"));
        assert!(!is_request("garbage"));
    }
}
