//! The redirect of a Redis Cluster member to another member that has the key.

/// Another member owns the hash slot of the key, or serves it for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// Whether the slot is still being moved, so that only this request is redirected.
    pub(crate) asks: bool,
    /// The host name or address of the other member. Empty: that of the member that answers.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Redirect {
    /// Parses a reply such as `MOVED 3999 127.0.0.1:6381`.
    pub(crate) fn of_reply(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let asks = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let _slot = words.next()?.parse::<u16>().ok()?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        // A member that does not know the address of another one writes `?`.
        let host = if host == "?" { "" } else { host };
        Some(Self { asks, host: host.to_owned(), port: port.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_the_other_member() {
        let redirect = |asks, host: &str, port| Some(Redirect { asks, host: host.to_owned(), port });
        for (text, expected) in [
            ("MOVED 3999 127.0.0.1:6381", redirect(false, "127.0.0.1", 6381)),
            ("ASK 3999 cache.example:6381", redirect(true, "cache.example", 6381)),
            ("MOVED 0 2001:db8::1:7000", redirect(false, "2001:db8::1", 7000)),
            ("MOVED 1 :7000", redirect(false, "", 7000)),
            ("MOVED 1 ?:7000", redirect(false, "", 7000)),
            ("MOVED 1 host", None),
            ("MOVED x host:1", None),
            ("MOVED", None),
            ("MOVED 1 host:99999", None),
            ("CLUSTERDOWN Hash slot not served", None),
            ("", None),
        ] {
            assert_eq!(Redirect::of_reply(text), expected, "{text}");
        }
    }
}
