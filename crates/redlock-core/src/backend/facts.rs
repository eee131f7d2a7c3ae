//! Parses what servers report about themselves (`INFO`, `TIME`, `CONFIG GET`, `CLUSTER NODES`) into [`NodeFacts`].

use std::{collections::BTreeMap, time::Duration};

use crate::algorithm::{ClusterFacts, NodeFacts, NodeRole, ServerVersion};

/// Parses the answer to `INFO`.
pub(super) fn read_info(facts: &mut NodeFacts, info: &str) {
    let info = Info::new(info);
    facts.run_id = info.text("run_id").filter(|id| id.chars().any(|digit| digit != '0'));
    facts.version = info.version();
    facts.role = info.role();
    facts.maxmemory = info.number("maxmemory");
    facts.maxmemory_policy = info.text("maxmemory_policy");
    facts.append_only = info.flag("aof_enabled");
    if info.value("aof_last_write_status") == Some("err") && facts.append_only == Some(true) {
        facts.writes_stopped = Some("it cannot write its append-only file".to_owned());
    }
    facts.cluster = info.flag("cluster_enabled").filter(|enabled| *enabled).map(|_| ClusterFacts::default());
}

/// Returns whether the server failed to write its last snapshot, according to `INFO`.
pub(super) fn snapshot_failed(info: &str) -> bool {
    Info::new(info).value("rdb_last_bgsave_status") == Some("err")
}

/// Parses the answer to `CONFIG GET` for one parameter: its name and its value.
pub(super) fn read_parameter(words: &[String]) -> Option<&str> {
    match words {
        [_, value] => Some(value),
        _ => None,
    }
}

/// Parses the answer to `TIME`: seconds since the start of 1970, and microseconds within the current second.
pub(super) fn read_time(words: &[String]) -> Option<Duration> {
    match words {
        [seconds, micros] => {
            let (seconds, micros) = (seconds.parse::<u64>().ok()?, micros.parse::<u32>().ok()?);
            Some(Duration::new(seconds, micros.checked_mul(1_000).filter(|nanos| *nanos < 1_000_000_000)?))
        }
        _ => None,
    }
}

/// Parses the answer to `CLUSTER NODES`: a line for each member with its ID, its address, its flags and, from the ninth
/// word on, its hash slots. A member in handshake has no ID yet.
pub(super) fn read_cluster(text: &str) -> ClusterFacts {
    let members = || {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| match words.get(2) {
            Some(flags) => !flags.split(',').any(|flag| flag == "handshake" || flag == "noaddr"),
            None => false,
        })
    };
    // An entry in brackets is a slot that is being moved.
    let owns = |words: &Vec<&str>| words.iter().skip(8).any(|slot| !slot.starts_with('['));
    let ids = members().filter_map(|words| words.first().map(|id| printable(id)));
    ClusterFacts::new(ids, members().filter(owns).count())
}

/// The `name:value` lines of `INFO`.
struct Info<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name).filter(|value| !value.is_empty()).map(printable)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.number(name).map(|number| number != 0)
    }

    fn version(&self) -> Option<ServerVersion> {
        // Valkey also reports the Redis version that it is compatible with.
        if let Some((major, minor, patch)) = self.value("valkey_version").and_then(numbers) {
            return Some(ServerVersion::Valkey(major, minor, patch));
        }
        let (major, minor, patch) = self.value("redis_version").and_then(numbers)?;
        Some(ServerVersion::Redis(major, minor, patch))
    }

    fn role(&self) -> Option<NodeRole> {
        if self.value("redis_mode") == Some("sentinel") {
            return Some(NodeRole::Sentinel);
        }
        match self.value("role")? {
            "master" => Some(NodeRole::Primary { replicas: self.number("connected_slaves").unwrap_or_default() }),
            "slave" => {
                let (host, port) = (self.text("master_host"), self.text("master_port"));
                let of = host.zip(port).map(|(host, port)| match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                });
                Some(NodeRole::Replica { of, linked: self.value("master_link_status") == Some("up") })
            }
            _ => None,
        }
    }
}

/// Parses `7.2.4` or `7.2`, and ignores what follows.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((major, minor, numbers.next().and_then(Result::ok).unwrap_or_default()))
}

/// Makes a text of a server safe to print: no line breaks, no escape sequences.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(info: &str) -> NodeFacts {
        let mut facts = NodeFacts::default();
        read_info(&mut facts, info);
        facts
    }

    const PRIMARY: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:0f3c\r\n\r\n\
        # Memory\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n\
        # Persistence\r\naof_enabled:1\r\naof_last_write_status:ok\r\n\
        # Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.9,port=6379\r\n\
        # Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn the_facts_of_a_primary_are_read() {
        let facts = read(PRIMARY);
        assert_eq!(facts.run_id.as_deref(), Some("0f3c"));
        assert_eq!(facts.version, Some(ServerVersion::Redis(7, 0, 15)));
        assert_eq!(facts.role, Some(NodeRole::Primary { replicas: 2 }));
        assert_eq!((facts.maxmemory, facts.maxmemory_policy.as_deref()), (Some(1_048_576), Some("allkeys-lru")));
        assert_eq!((facts.append_only, facts.writes_stopped, facts.cluster), (Some(true), None, None));
    }

    #[test]
    fn a_replica_names_its_primary() {
        for (host, port, of) in [
            ("10.0.0.1", "6379", Some("10.0.0.1:6379")),
            ("::1", "7000", Some("[::1]:7000")),
            ("\u{1b}[2Jevil", "1", Some(" [2Jevil:1")),
            ("", "6379", None),
        ] {
            for (status, linked) in [("up", true), ("down", false)] {
                let info = format!(
                    "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\nmaster_link_status:{status}\r\n"
                );
                let of = of.map(str::to_owned);
                assert_eq!(read(&info).role, Some(NodeRole::Replica { of, linked }), "{info}");
            }
        }
        assert_eq!(read("redis_mode:sentinel\r\nrole:master\r\n").role, Some(NodeRole::Sentinel));
        assert_eq!(read("role:other\r\n").role, None);
    }

    #[test]
    fn valkey_is_distinguished_from_redis() {
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n";
        assert_eq!(read(valkey).version, Some(ServerVersion::Valkey(8, 1, 0)));
        for (text, version) in [
            ("7.4", Some(ServerVersion::Redis(7, 4, 0))),
            ("8.0.0-rc1", Some(ServerVersion::Redis(8, 0, 0))),
            ("255.255.255", Some(ServerVersion::Redis(255, 255, 255))),
            ("unstable", None),
            ("7", None),
        ] {
            assert_eq!(read(&format!("redis_version:{text}\r\n")).version, version, "{text}");
        }
    }

    #[test]
    fn facts_that_are_not_reported_are_unknown() {
        assert_eq!(read(""), NodeFacts::default());
        assert_eq!(read("run_id:\r\nmaxmemory:much\r\naof_enabled:\r\nno colon"), NodeFacts::default());
        // A service that hides the run ID shows the same one for all servers.
        assert_eq!(read("run_id:0000000000\r\n").run_id, None);
    }

    #[test]
    fn a_server_that_cannot_write_is_recognized() {
        assert!(read("aof_enabled:1\r\naof_last_write_status:err\r\n").writes_stopped.is_some());
        assert_eq!(read("aof_enabled:0\r\naof_last_write_status:err\r\n").writes_stopped, None);
        assert!(snapshot_failed("a:b\r\nrdb_last_bgsave_status:err\r\n"));
        assert!(!snapshot_failed("rdb_last_bgsave_status:ok\r\n") && !snapshot_failed(""));
    }

    #[test]
    fn the_members_of_a_cluster_are_those_that_have_an_id_and_an_address() {
        let text = "aa 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-8191 9000\n\
            bb 10.0.0.2:6379@16379 master - 0 0 2 connected 8192-8999\n\
            cc 10.0.0.3:6379@16379 slave,fail aa 0 0 1 connected\n\
            dd 10.0.0.4:6379@16379 handshake - 0 0 0 connected\n\
            ee :0@0 master,noaddr - 0 0 0 disconnected 7-8\n\
            ff 10.0.0.5:6379@16379 master - 0 0 3 connected [93-<-aa]\n\
            \nshort line\n";
        let facts = read_cluster(text);
        assert_eq!(facts, ClusterFacts::new(["aa", "bb", "cc", "ff"].map(str::to_owned), 2));
        assert_eq!(read("cluster_enabled:1\r\n").cluster, Some(ClusterFacts::default()));
        assert_eq!(read("cluster_enabled:0\r\n").cluster, None);
    }

    #[test]
    fn a_time_is_seconds_and_microseconds() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(read_time(&words(&["12", "345678"])), Some(Duration::new(12, 345_678_000)));
        for wrong in [&["12"][..], &["12", "1000000"], &["12", "-1"], &["x", "1"], &["1", "9999999999"], &[]] {
            assert_eq!(read_time(&words(wrong)), None, "{wrong:?}");
        }
        assert_eq!(read_parameter(&words(&["save", "3600 1"])), Some("3600 1"));
        assert_eq!(read_parameter(&words(&["save"])), None);
    }
}
