//! The addresses in node URLs: one server, sentinels, or the members of a cluster.

use std::{borrow::Cow, fmt};

use url::Url;

use super::error::Why;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeAddress {
    /// A host and a port.
    Tcp {
        /// The name or address, without the brackets of an IPv6 address.
        host: String,
        /// The port.
        port: u16,
        /// Whether to use TLS.
        tls: bool,
    },
    /// The path of a unix socket.
    Unix(String),
    /// A service behind Redis Sentinel: the server that the sentinels name as its primary.
    Sentinel {
        /// The sentinels, each with its host and port.
        sentinels: Vec<(String, u16)>,
        /// The name of the service at the sentinels.
        service: String,
        /// Whether to use TLS, to the sentinels and to the primary.
        tls: bool,
    },
    /// A Redis Cluster.
    Cluster {
        /// Some of the members, each with its host and port. They report the others.
        members: Vec<(String, u16)>,
        /// Whether to use TLS.
        tls: bool,
    },
}

impl NodeAddress {
    /// Returns whether both are one node, as far as their hosts show: the same server, service or cluster.
    pub(super) fn is_same_node(&self, other: &Self) -> bool {
        let share = |one: &[(String, u16)], other: &[(String, u16)]| one.iter().any(|host| other.contains(host));
        match (self, other) {
            (Self::Sentinel { sentinels, service, .. }, Self::Sentinel { sentinels: others, service: name, .. }) => {
                service == name && share(sentinels, others)
            }
            (Self::Cluster { members, .. }, Self::Cluster { members: others, .. }) => share(members, others),
            (Self::Cluster { members, .. }, Self::Tcp { host, port, .. })
            | (Self::Tcp { host, port, .. }, Self::Cluster { members, .. }) => {
                members.iter().any(|(member, at)| member == host && at == port)
            }
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => fmt::Display::fmt(&Host(host, *port), f),
            Self::Unix(path) => f.write_str(path),
            Self::Sentinel { sentinels, service, .. } => {
                write!(f, "{}/{}", List(sentinels), service.escape_debug())
            }
            Self::Cluster { members, .. } => fmt::Display::fmt(&List(members), f),
        }
    }
}

struct Host<'a>(&'a str, u16);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

struct List<'a>(&'a [(String, u16)]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (host, port)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", Host(host, *port))?;
        }
        Ok(())
    }
}

/// The kind of servers that a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Sentinels,
    Members,
}

impl Kind {
    /// Splits a scheme into its base and its kind, for example `rediss+sentinel` into `rediss` and the sentinels.
    fn of(scheme: &str) -> (&str, Self) {
        let ending = |name| scheme.strip_suffix(name)?.strip_suffix(['+', '-']);
        let kinds = [("sentinel", Self::Sentinels), ("cluster", Self::Members)];
        kinds.into_iter().find_map(|(name, kind)| Some((ending(name)?, kind))).unwrap_or((scheme, Self::Server))
    }
}

/// The hosts of a URL. The library that parses URLs knows only one of them.
pub(super) struct Hosts<'a> {
    /// The URL with the first host only, and without the zone of its address.
    pub(super) first_only: Cow<'a, str>,
    /// Whether there are several hosts although the scheme allows only one.
    pub(super) are_unexpected: bool,
    zone: Option<&'a str>,
    others: Vec<&'a str>,
}

impl<'a> Hosts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let unsplit = |are_unexpected| Self { first_only: text.into(), are_unexpected, zone: None, others: Vec::new() };
        let Some((scheme, rest)) = text.split_once("://") else { return unsplit(false) };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let mut hosts = hosts.split(',');
        let first = hosts.next().unwrap_or_default();
        let others: Vec<_> = hosts.collect();
        let (first, zone) = without_zone(first);
        if others.is_empty() && zone.is_none() {
            return unsplit(false);
        }
        if !others.is_empty() && Kind::of(&scheme.trim().to_ascii_lowercase()).1 == Kind::Server {
            return unsplit(true);
        }
        Self { first_only: format!("{scheme}://{login}{first}{behind}").into(), are_unexpected: false, zone, others }
    }
}

/// Returns a host without the zone of its IPv6 address, which the library that parses URLs rejects, and the zone:
/// `eth0` of `[fe80::1%25eth0]`, or of `[fe80::1%eth0]`.
fn without_zone(host: &str) -> (Cow<'_, str>, Option<&str>) {
    let split = |host| {
        let (address, behind) = str::strip_prefix(host, "[")?.split_once(']')?;
        let (address, zone) = address.split_once('%')?;
        Some((format!("[{address}]{behind}").into(), Some(zone.strip_prefix("25").unwrap_or(zone))))
    };
    split(host).unwrap_or((host.into(), None))
}

/// Returns the address, and the text of the database number.
pub(super) fn address<'u>(url: &'u Url, hosts: &Hosts<'_>) -> Result<(NodeAddress, &'u str), Why> {
    let path = url.path().trim_matches('/');
    let (scheme, kind) = Kind::of(url.scheme());
    let tls = match (scheme, kind) {
        ("redis" | "valkey", _) | ("tcp", Kind::Server) => false,
        ("rediss" | "valkeys", _) => true,
        ("redis+unix" | "unix", Kind::Server) => {
            let path = decoded(url.path())?.filter(|path| path != "/").ok_or(Why::NoHost)?;
            return Ok((NodeAddress::Unix(path), ""));
        }
        _ => return Err(Why::Scheme),
    };
    if hosts.are_unexpected {
        return Err(Why::Hosts);
    }
    if tls && (hosts.zone.is_some() || hosts.others.iter().any(|host| without_zone(host).1.is_some())) {
        return Err(Why::ZoneOfTls);
    }
    match kind {
        Kind::Server => {
            let (host, port) = host(url, hosts.zone, 6379)?;
            Ok((NodeAddress::Tcp { host, port, tls }, path))
        }
        Kind::Sentinels => {
            let sentinels = all(url, hosts, 26379)?;
            let (service, db) = path.split_once('/').unwrap_or((path, ""));
            let service = decoded(service)?.ok_or(Why::NoService)?;
            Ok((NodeAddress::Sentinel { sentinels, service, tls }, db))
        }
        Kind::Members => Ok((NodeAddress::Cluster { members: all(url, hosts, 6379)?, tls }, path)),
    }
}

/// Returns all hosts, each once.
fn all(url: &Url, hosts: &Hosts<'_>, port: u16) -> Result<Vec<(String, u16)>, Why> {
    let mut all = vec![host(url, hosts.zone, port)?];
    for other in &hosts.others {
        if other.is_empty() {
            return Err(Why::NoHost);
        }
        let (other, zone) = without_zone(other);
        let other = Url::parse(&format!("redis://{other}")).map_err(|error| Why::Malformed(error.to_string()))?;
        let other = host(&other, zone, port)?;
        if !all.contains(&other) {
            all.push(other);
        }
    }
    Ok(all)
}

fn host(url: &Url, zone: Option<&str>, port: u16) -> Result<(String, u16), Why> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Why::NoHost)?;
    if host.contains('%') {
        return Err(Why::HostEncoded);
    }
    let mut host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if let Some(zone) = zone {
        let is_interface = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if zone.is_empty() || !zone.bytes().all(is_interface) {
            return Err(Why::Zone);
        }
        host = format!("{host}%{zone}");
    }
    Ok((host, url.port().unwrap_or(port)))
}

pub(super) fn decoded(text: &str) -> Result<Option<String>, Why> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| Why::Encoding)?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

/// Splits a list of URLs at white space and at commas, except at the commas between the hosts of one URL.
pub(super) fn split(list: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for word in list.split_whitespace() {
        // White space always ends a URL.
        let mut may_go_on = false;
        for part in word.split(',') {
            match urls.last_mut().filter(|url| may_go_on && !part.contains("://") && has_hosts_only(url)) {
                Some(url) => {
                    url.push(',');
                    url.push_str(part);
                }
                None if part.is_empty() => continue,
                None => urls.push(part.to_owned()),
            }
            may_go_on = true;
        }
    }
    // Removes the comma at the end of a list.
    urls.iter_mut().for_each(|url| url.truncate(url.trim_end_matches(',').len()));
    urls
}

/// Returns whether the URL may have several hosts, and has nothing after them.
fn has_hosts_only(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| {
        Kind::of(&scheme.to_ascii_lowercase()).1 != Kind::Server && !rest.contains(['/', '?', '#'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::node_url::{NodeUrl, UrlFeatures};

    fn parse(text: &str) -> NodeUrl {
        NodeUrl::parse(text).unwrap()
    }

    fn hosts(hosts: &[(&str, u16)]) -> Vec<(String, u16)> {
        hosts.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()
    }

    #[test]
    fn an_address_of_one_link_has_the_zone_of_its_interface() {
        for url in ["redis://:p@[FE80::1%25Eth0]:7/2", "redis://[fe80::1%Eth0]:7"] {
            let node = parse(url);
            assert_eq!(node.address, NodeAddress::Tcp { host: "fe80::1%Eth0".to_owned(), port: 7, tls: false });
            assert_eq!(node.name(), "[fe80::1%Eth0]:7");
        }
        let members = hosts(&[("fe80::1%2", 6379), ("fe80::2%eth0", 7)]);
        let cluster = parse("redis-cluster://[fe80::1%252],[fe80::2%25eth0]:7");
        assert_eq!(cluster.address, NodeAddress::Cluster { members, tls: false });
        let error = |url| NodeUrl::parse(url).unwrap_err().to_string();
        for url in ["redis://[fe80::1%25]", "redis://[fe80::1%25a%2Fb]", "redis-cluster://a,[fe80::1%]"] {
            assert!(error(url).contains("write it as `[fe80::1%25eth0]`"), "{}", error(url));
        }
        for url in ["rediss://[fe80::1%25eth0]", "rediss-cluster://a,[fe80::1%25eth0]"] {
            assert!(error(url).contains("no certificate names a zone"), "{}", error(url));
        }
        // Two zones are two servers.
        assert!(NodeUrl::parse_all(["redis://[fe80::1%25a]", "redis://[fe80::1%25b]"]).is_ok());
        assert!(NodeUrl::parse_all(["redis://[fe80::1%25a]", "redis://[fe80::1%a]"]).is_err());
    }

    #[test]
    fn a_service_behind_sentinels_is_read() {
        let node = parse(
            "rediss+sentinel://us%40er:p%2Cw@Sentinel-1,[::1]:7000,sentinel-1:26379/my%20master/3?sentinel_user=s&\
             sentinel_password=hunter2&response_timeout=2s",
        );
        let sentinels = hosts(&[("sentinel-1", 26379), ("::1", 7000)]);
        let expected = NodeAddress::Sentinel { sentinels, service: "my master".to_owned(), tls: true };
        assert_eq!((&node.address, node.db), (&expected, 3));
        assert_eq!((node.user.as_deref(), node.password.as_deref()), (Some("us@er"), Some("p,w")));
        assert_eq!((node.sentinel_user.as_deref(), node.sentinel_password.as_deref()), (Some("s"), Some("hunter2")));
        assert_eq!(node.response_timeout, std::time::Duration::from_secs(2));
        assert_eq!(node.name(), "sentinel-1:26379,[::1]:7000/my master");
        assert!(!format!("{node:?}").contains("hunter2"));

        let node = parse("redis-sentinel://a:1/s?db=4&sentinelUsername=u&sentinelPassword=p");
        assert_eq!(
            (node.db, node.sentinel_user.as_deref(), node.sentinel_password.as_deref()),
            (4, Some("u"), Some("p"))
        );
        assert_eq!(parse("valkey+sentinel://a/s").name(), "a:26379/s");
    }

    #[test]
    fn the_members_of_a_cluster_are_read() {
        let node = parse("redis-cluster://:pw@a:7000,b?connect_timeout=200ms");
        let expected = NodeAddress::Cluster { members: hosts(&[("a", 7000), ("b", 6379)]), tls: false };
        assert_eq!((&node.address, node.password.as_deref()), (&expected, Some("pw")));
        assert_eq!(node.name(), "a:7000,b:6379");
        let NodeAddress::Cluster { tls, .. } = parse("rediss-cluster://a").address else { panic!() };
        assert!(tls);
        assert_eq!(parse("valkey+cluster://a/0").db, 0);
    }

    #[test]
    fn an_error_about_several_hosts_does_not_show_the_password() {
        for (url, why) in [
            ("redis+sentinel://:hunter2@a,b", "there is no service"),
            ("redis+sentinel://:hunter2@a,b/", "there is no service"),
            ("redis+sentinel://:hunter2@/mymaster", "host"),
            ("redis+sentinel://:hunter2@a,,b/mymaster", "there is no host"),
            ("redis+sentinel://:hunter2@a,b:x/mymaster", "invalid port number"),
            ("redis+sentinel://:hunter2@a/mymaster/x", "the database \"x\" is not a number"),
            ("redis-cluster://:hunter2@a,b?sentinel_password=hunter2", "an option is not one of"),
            ("redis-cluster://", "host"),
            ("redis-cluster://:hunter2@a,", "there is no host"),
            ("tcp+sentinel://:hunter2@a/s", "the scheme is not one of"),
            ("http-cluster://:hunter2@a,b", "the scheme is not one of"),
            ("redis://:hunter2@a,b", "only redis+sentinel and redis-cluster URLs"),
            ("redis://:hunter2@a:1,b:2", "only redis+sentinel and redis-cluster URLs"),
        ] {
            let error = NodeUrl::parse(url).unwrap_err();
            assert!(error.to_string().contains(why), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            assert_eq!(error.missing_feature(), None);
        }
    }

    #[test]
    fn a_missing_feature_is_named() {
        let all = UrlFeatures { tls: true, sentinel: true, cluster: true };
        for (url, features, missing) in [
            ("redis+sentinel://a/s", UrlFeatures { sentinel: false, ..all }, "sentinel"),
            ("redis-cluster://a", UrlFeatures { cluster: false, ..all }, "cluster"),
            ("rediss-cluster://a", UrlFeatures { tls: false, ..all }, "tls"),
            ("rediss+sentinel://a/s", UrlFeatures { tls: false, ..all }, "tls"),
            ("rediss://a", UrlFeatures { tls: false, ..all }, "tls"),
        ] {
            let error = parse(url).check(features).unwrap_err();
            assert_eq!(error.missing_feature(), Some(missing), "{url}");
            assert!(error.to_string().contains(&format!("the feature `{missing}`")), "{error}");
            assert!(parse(url).check(all).is_ok());
        }
        assert!(parse("redis://a").check(UrlFeatures::default()).is_ok());
    }

    #[test]
    fn a_service_or_a_cluster_is_one_node_however_it_is_reached() {
        let fleet = |urls: [&str; 2]| NodeUrl::parse_all(urls).is_ok();
        assert!(fleet(["redis+sentinel://a,b/one", "redis+sentinel://a,b/two"]));
        assert!(fleet(["redis+sentinel://a,b/one", "redis+sentinel://c,d/one"]));
        assert!(!fleet(["redis+sentinel://a,b/one", "redis+sentinel://c,B:26379/one/1"]));
        assert!(!fleet(["redis-cluster://a,b", "redis-cluster://b,c"]));
        assert!(fleet(["redis-cluster://a,b", "redis-cluster://c,d"]));
        assert!(!fleet(["redis-cluster://a,b", "redis://b"]));
        assert!(!fleet(["redis://b", "redis-cluster://a,b"]));
        assert!(fleet(["redis-cluster://a,b", "redis://c"]));
        assert!(fleet(["redis+sentinel://a/s", "redis://a"]));
    }

    #[test]
    fn a_list_is_split_between_urls_and_not_between_the_hosts_of_one() {
        for (list, urls) in [
            ("redis://a,redis://b\n  redis://c\t", &["redis://a", "redis://b", "redis://c"][..]),
            ("redis://a,,redis://b,", &["redis://a", "redis://b"]),
            ("redis+sentinel://:p@a:1,b:2,c/s,redis://d", &["redis+sentinel://:p@a:1,b:2,c/s", "redis://d"]),
            ("redis://d,rediss-cluster://a,b?db=0,redis://e", &["redis://d", "rediss-cluster://a,b?db=0", "redis://e"]),
            ("redis-cluster://a,b,redis-cluster://c,d", &["redis-cluster://a,b", "redis-cluster://c,d"]),
            ("redis-cluster://a, redis-cluster://b ,", &["redis-cluster://a", "redis-cluster://b"]),
            ("redis-cluster://a,b c", &["redis-cluster://a,b", "c"]),
            ("redis+sentinel://a/s,b", &["redis+sentinel://a/s", "b"]),
            ("redis://a,b", &["redis://a", "b"]),
            ("", &[]),
        ] {
            assert_eq!(NodeUrl::split(list), urls, "{list}");
        }
    }
}
