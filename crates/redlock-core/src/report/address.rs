//! Extracts the address from a node's name, for spans and metrics.

/// Returns the host and port in a node's name, if it is the address of one server. An IPv6 address has no brackets
/// then.
pub(crate) fn address(node: &str) -> (&str, Option<u16>) {
    let is_of_one = !node.contains(['/', ',']);
    match node.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) if is_of_one => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            (bare.unwrap_or(host), Some(port))
        }
        _ => (node, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_node_is_its_host_and_its_port_if_it_has_one() {
        for (node, host, port) in [
            ("10.0.0.1:6379", "10.0.0.1", Some(6379)),
            ("[::1]:7000", "::1", Some(7000)),
            ("/run/redis.sock", "/run/redis.sock", None),
            ("/run/redis:1", "/run/redis:1", None),
            // The first members of a cluster.
            ("10.0.0.1:7000,10.0.0.2:7000", "10.0.0.1:7000,10.0.0.2:7000", None),
            ("node-1", "node-1", None),
            ("a:b", "a:b", None),
        ] {
            assert_eq!(address(node), (host, port));
        }
    }
}
